"""The one thing to change where trials fail or diverge: before a space can be trained nothing else can be told."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tuner.diagnose.evidence import Evidence, Step
from tuner.diagnose.feasibility import HIGH_SHARE
from tuner.records import Json
from tuner.spec.known.hyperparameters import HYPERPARAMETERS


def trainable(evidence: Evidence) -> Step | None:
    """What keeps more of the space from diverging; None where little of it does."""
    found = evidence.feasibility
    if found.trials < 5 or found.share <= max(HIGH_SHARE, 0.25 if found.learning_rate_bound is None else 0.0):
        return None
    why = f"{found.diverged} of {found.trials} trials diverged"
    is_searched = "learning_rate" in evidence.space.names
    if found.learning_rate_bound is not None and is_searched and not evidence.own_code:
        bound = f"{found.learning_rate_bound:.2g}"
        return Step("space.learning_rate.high", f"lower it to {bound}", f"{why}, nearly all of those above {bound}")
    if evidence.own_code or is_used("clip_norm", evidence.space.names, evidence.training):
        return _lower_rate(evidence, f"{why}, at no particular learning rate")
    return Step("training.clip_norm", "set it to 1.0, or add warmup_epochs", f"{why}, at no particular learning rate")


def first_trials(evidence: Evidence) -> Step:
    """Before any trial has finished."""
    found = evidence.feasibility
    if found.failed and found.failed >= found.diverged and found.failed >= found.trials / 2:
        why = f"{found.failed} of {found.trials} trials failed, and none has finished"
        return Step("", "look at why trials fail: `tuner logs STUDY TRIAL`", why)
    if not found.diverged or found.diverged < found.trials / 2:
        if evidence.ended:
            return Step(
                "search.trials", "raise it", f"the search has ended, and none of {found.trials} trials finished"
            )
        return Step("search.trials", "let the sweep run on", "no trial has finished yet")
    return _lower_rate(evidence, f"{found.diverged} of {found.trials} trials diverged, and none has finished")


def is_used(name: str, searched: Collection[str], training: Mapping[str, Json]) -> bool:
    """Whether a hyperparameter is searched, or set to something."""
    return name in searched or bool(training.get(name))


def _lower_rate(evidence: Evidence, why: str) -> Step:
    """A tenth of the learning rate, wherever it is set."""
    if evidence.own_code:
        return Step("", "lower the learning rate", why)
    if "learning_rate" not in evidence.space.names or evidence.space["learning_rate"].kind != "float":
        return Step("training.learning_rate", "lower it to a tenth", why)
    rates = evidence.space["learning_rate"]
    known = HYPERPARAMETERS["learning_rate"]
    if rates.low >= known.high:
        usual = f"{{low: {known.low:.2g}, high: {known.high:.2g}}}"
        return Step("space.learning_rate", f"lower both bounds: {usual}", why)
    if rates.high / 10 > rates.low:
        return Step("space.learning_rate.high", f"lower it to {rates.high / 10:.2g}", why)
    lower = f"{{low: {rates.low / 10:.2g}, high: {rates.high / 10:.2g}}}"
    return Step("space.learning_rate", f"lower both bounds: {lower}", why)
