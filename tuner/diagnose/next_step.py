"""The one thing to change in the sweep file next."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tuner.diagnose.bounds import BoundFinding
from tuner.diagnose.curves import Flag, FlagKind
from tuner.diagnose.error_parts import ErrorParts, Verdict
from tuner.diagnose.feasibility import HIGH_SHARE, Feasibility
from tuner.diagnose.importance import Finding, Importance
from tuner.records import Json, Params
from tuner.spec.space import Space

_SIZE = ("hidden_units", "hidden_layers", "channels")
_REGULARISERS = ("weight_decay", "dropout", "l1")


@dataclass(frozen=True, slots=True)
class Step:
    """A change to make."""

    key: str
    """Where in the sweep file; empty if the next thing to do is a command or lies outside it."""
    change: str
    """What to write there, or to do, in the imperative."""
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What the advice rests on."""

    best: Params | None
    """Of the best finished trial."""
    parts: ErrorParts | None
    """Of the best finished trial."""
    flags: Sequence[Flag]
    """Of the best finished trial."""
    bounds: Sequence[BoundFinding]
    importances: Sequence[Importance]
    feasibility: Feasibility
    space: Space
    kept: Collection[str] = ()
    """Hyperparameters of the space that had one value in all trials."""
    training: Mapping[str, Json]
    """The `training` block of the sweep file."""
    strategy: str = ""
    """`search.strategy` of the sweep file."""
    images: bool = False
    """Whether the examples are images, which can be augmented."""
    told_apart: bool = False
    """Whether a classifier tells train from dev examples."""
    num_ties: int
    """Trials that cannot be told from the best, itself included; 0 if that is not known."""
    confirmed: bool
    """Whether the best trials were trained again on fresh seeds."""
    own_code: bool = False
    """Whether the user's own code trains, whose keys are not ours to name."""
    testable: bool = True
    """Whether there are test examples set aside."""
    tested: bool = False
    """Whether the test set has been used."""


def next_step(evidence: Evidence) -> Step:
    """The most urgent change: a space that can be trained, then room for the winners, then Ng's recipe."""
    trainable = _trainable(evidence.feasibility)
    if trainable is not None:
        return trainable
    if evidence.best is None:
        return Step("search.trials", "let the sweep run on", "no trial has finished yet")
    parts = evidence.parts
    if parts is not None and parts.verdict is Verdict.AT_TARGET:
        return _settle(evidence, "the dev error has reached the target error")
    bound = _bound_worth_moving(evidence)
    if bound is not None:
        return _move(bound)
    if parts is None:
        return _settle(evidence, "nothing in the records asks for a change")
    match parts.verdict:
        case Verdict.BIAS | Verdict.BOTH:
            return _against_bias(evidence, parts)
        case Verdict.VARIANCE:
            return _against_variance(evidence, parts)
        case _:
            return _settle(evidence, "neither bias nor variance stands out from the noise of the dev set")


def _trainable(found: Feasibility) -> Step | None:
    if found.trials < 5 or found.share <= max(HIGH_SHARE, 0.25 if found.learning_rate_bound is None else 0.0):
        return None
    why = f"{found.diverged} of {found.trials} trials diverged"
    if found.learning_rate_bound is not None:
        bound = f"{found.learning_rate_bound:.2g}"
        return Step("space.learning_rate.high", f"lower it to {bound}", f"{why}, nearly all of those above {bound}")
    return Step("training.clip_norm", "set it to 1.0, or add warmup_epochs", f"{why}, at no particular learning rate")


def _bound_worth_moving(evidence: Evidence) -> BoundFinding | None:
    """The first bound that the winners crowd, unless its hyperparameter is known not to matter."""
    return next((b for b in evidence.bounds if b.name not in _idle(evidence)), None)


def _idle(evidence: Evidence) -> set[str]:
    """Hyperparameters that are known not to matter."""
    return {i.name for i in evidence.importances if i.finding is Finding.DOES_NOT_MATTER}


def _move(bound: BoundFinding) -> Step:
    suggestion = f"{bound.suggestion:.4g}" if isinstance(bound.suggestion, float) else str(bound.suggestion)
    if bound.is_choice:
        return Step(f"space.{bound.name}.choices", f"add {suggestion}", bound.text)
    verb = "lower" if bound.side == "low" else "raise"
    return Step(f"space.{bound.name}.{bound.side}", f"{verb} it to {suggestion}", bound.text)


def _against_bias(evidence: Evidence, parts: ErrorParts) -> Step:
    """A bigger network, longer training, another optimiser or architecture."""
    target = parts.text(parts.target_error)
    of_target = f"the target error {target}" if parts.target_given else "0 (no target_error is given)"
    why = f"high bias: the training error {parts.text(parts.train_error)} is above {of_target}"
    if evidence.own_code and not _has(evidence.flags, FlagKind.STILL_IMPROVING):
        return Step("", "try a larger network, another optimiser or another architecture", why)
    if _has(evidence.flags, FlagKind.STILL_IMPROVING):
        epochs = evidence.training.get("epochs")
        longer = f"raise it to {2 * epochs}" if isinstance(epochs, int) else "double it"
        return Step("training.epochs", longer, f"{why}, and the best trial was still improving at its last epoch")
    if _has(evidence.flags, FlagKind.DEAD_UNITS) or _has(evidence.flags, FlagKind.VANISHING_GRADIENTS):
        signal = next(f for f in evidence.flags if f.kind in (FlagKind.DEAD_UNITS, FlagKind.VANISHING_GRADIENTS))
        return Step("model.norm", "set it to batch", f"{why}; {signal.text}")
    for name in _SIZE:
        if name in evidence.space.names and evidence.space[name].kind == "int" and name not in _idle(evidence):
            high = int(evidence.space[name].high)
            larger = high + 2 if name == "hidden_layers" else 2 * high
            return Step(f"space.{name}.high", f"raise it to {larger}: a bigger network", why)
    if evidence.training.get("optimizer") == "sgd":
        return Step("training.optimizer", "try adam", why)
    return Step("model", "try a larger network or another architecture", why)


def _against_variance(evidence: Evidence, parts: ErrorParts) -> Step:
    """Regularisation that is not searched yet, else more data."""
    dev, train = parts.text(parts.dev_error), parts.text(parts.train_error)
    why = f"high variance: the dev error {dev} is above the training error {train}"
    if _has(evidence.flags, FlagKind.OVERFITTING) and evidence.training.get("early_stopping") is None:
        overfitting = next(f for f in evidence.flags if f.kind is FlagKind.OVERFITTING)
        return Step("training.early_stopping", "add {patience: 5}", f"{why}; {overfitting.text}")
    if evidence.own_code:
        return Step("", "search a regulariser (weight decay, dropout), or get more training data", why)
    for name in _REGULARISERS:
        if not _is_used(name, evidence.space.names, evidence.training) and name != "l1":
            return Step(f"space.{name}", "search it", f"{why}, and {name} is neither searched nor set")
    closed = [name for name in _REGULARISERS if name in evidence.kept]
    if closed:
        return _open_regularisation(closed, evidence.strategy, why)
    if evidence.images and not _is_used("augment", evidence.space.names, evidence.training):
        return Step("space.augment", "search it", f"{why}, and the images are not augmented")
    if evidence.told_apart:
        return Step(
            "data",
            "make the training examples more like the dev examples",
            f"{why}, regularisation was searched already, and a classifier tells the two parts apart",
        )
    return Step("", "get more training data, or augment it", f"{why}, and regularisation was searched already")


def _open_regularisation(closed: Sequence[str], strategy: str, why: str) -> Step:
    """Hyperparameters that lie in the space, but that the search never moved."""
    kept = f"{why}, and {' and '.join(closed)} kept {'its default' if len(closed) == 1 else 'their defaults'} all along"
    if strategy == "priority":
        return Step("search.regularisation", "set it to always", kept)
    return Step("search.trials", "raise it, so that the search comes to regularisation", kept)


def _settle(evidence: Evidence, why: str) -> Step:
    if not evidence.confirmed and evidence.num_ties > 1:
        return Step(
            "finalists",
            "add {count: 5, seeds: 3}",
            f"{why}; {evidence.num_ties} trials cannot be told from the best, fresh seeds may",
        )
    if evidence.tested:
        return Step("", "nothing, the final choice is made and tested", why)
    if not evidence.testable:
        return Step("", "nothing; there is no test set to evaluate the final choice on", why)
    return Step("", "evaluate the final choice once with `tuner test`", why)


def _is_used(name: str, searched: Collection[str], training: Mapping[str, Json]) -> bool:
    return name in searched or bool(training.get(name))


def _has(flags: Sequence[Flag], kind: FlagKind) -> bool:
    return any(f.kind is kind for f in flags)
