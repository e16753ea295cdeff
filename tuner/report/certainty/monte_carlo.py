"""What Monte Carlo dropout gains on the dev set, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tuner.diagnose.intervals import Interval
from tuner.paths import StudyPaths
from tuner.records import TrialRecord
from tuner.report.certainty.dev_scores import dev_examples, load_array, scores_of
from tuner.store.study_data import StudyData


@dataclass(frozen=True, kw_only=True, slots=True)
class PassesGain:
    """A trial's mean prediction over passes with dropout on, beside its usual one without."""

    trial: int
    passes: int
    value: float
    """The dev metric of the mean."""
    usual: float
    loss: float
    usual_loss: float
    gain: Interval | None
    """By how much it is better; what other dev sets of this size would make of it. None if that is not known."""
    seconds: float
    seconds_once: float


def passes_gain(study: StudyData, paths: StudyPaths | None, best: TrialRecord | None) -> PassesGain | None:
    """What a study's choice gains; None where it was not asked, or nothing was dropped."""
    facts = None if best is None else best.facts.get("monte_carlo")
    if best is None or best.best is None or not isinstance(facts, dict):
        return None
    names = ("passes", "metric", "loss", "seconds", "seconds_once")
    passes, value, loss, seconds, once = (facts.get(name) for name in names)
    numbers = [n for n in (passes, value, loss, seconds, once) if isinstance(n, int | float)]
    if len(numbers) < len(names):
        return None
    return PassesGain(
        trial=best.number,
        passes=int(numbers[0]),
        value=float(numbers[1]),
        usual=best.best.dev_metric,
        loss=float(numbers[2]),
        usual_loss=best.best.dev_loss,
        gain=_gain(study, paths, best, float(numbers[1])),
        seconds=float(numbers[3]),
        seconds_once=float(numbers[4]),
    )


def gain_interval(
    study: StudyData, paths: StudyPaths | None, better: TrialRecord, other: TrialRecord
) -> Interval | None:
    """What other dev sets of this size would make of the lead of one trial over another; None if that is not known."""
    if paths is None or better.value is None or other.value is None:
        return None
    first, second = (paths.trial(record.number).predictions for record in (better, other))
    return _paired(study, paths, (better.value, first), (other.value, second))


def _gain(study: StudyData, paths: StudyPaths | None, best: TrialRecord, value: float) -> Interval | None:
    if paths is None or best.value is None:
        return None
    own = paths.trial(best.number)
    return _paired(study, paths, (value, own.monte_carlo_predictions), (best.value, own.predictions))


def _paired(
    study: StudyData, paths: StudyPaths, first: tuple[float, Path], second: tuple[float, Path]
) -> Interval | None:
    """By how much the first is better than the second on resamples of the dev set; of each a metric and predictions."""
    targets = load_array(paths.dev_targets)
    if targets is None or len(targets) < 2:
        return None
    candidates = [(0, *second), (1, *first)]
    examples = dev_examples(paths, targets)
    scores = scores_of(candidates, metric=study.metric, targets=targets, examples=examples)
    if scores is None or len(scores.trials) < len(candidates):
        return None
    half = scores.half_width(1, 0)
    gain = study.direction.sign * (first[0] - second[0])
    return Interval(gain - half, gain + half)
