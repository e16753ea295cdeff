"""From which probability on an answer of two is the second one: chosen on the dev set, and what that gains."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.diagnose.intervals import Interval
from tuner.report.certainty.mistakes import Mistakes
from tuner.report.certainty.resampling import Array, resample_weights
from tuner.report.facts import sweep_value
from tuner.store.study_data import StudyData

HALF = 0.5
FOLDS = 10
"""Each tenth of the dev examples is decided by a threshold of the others, where it is asked what that gains."""
_MOST_CANDIDATES = 1000
_MOST_WEIGHTS = 20_000_000
_RESAMPLES = 1000
_QUANTILE = 1.96

_Bools = NDArray[np.bool_]
_Score = Callable[[Array, Array, Array, Array], Array]
"""Of true positives, false positives, false negatives and true negatives; larger is better."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenThreshold:
    """A threshold on the probability of the second of two classes."""

    trial: int
    answer: str
    """The second class: what is answered above the threshold."""
    measure: str
    """What it was chosen for: a metric, or `cost`."""
    threshold: float
    value: float
    """The measure on the dev examples that chose it."""
    usual: float
    """The same at one half."""
    gain: Interval
    """By how much it is better than one half on examples that did not choose it, on other dev sets of this size."""
    honest_gain: float


def threshold_of(study: StudyData, found: Mistakes | None) -> ChosenThreshold | None:
    """The threshold that a sweep asks for, by a trial's dev predictions; None where it asks none or there are none.

    Args:
        study: The study.
        found: The trial's predictions of the dev set.
    """
    rule = sweep_value(study, "objective", "threshold")
    if rule is None or found is None or not found.is_binary:
        return None
    if isinstance(rule, Mapping):
        measure, score = "cost", _cost(rule)
    else:
        measure = study.metric if rule == "metric" else str(rule)
        score = _SCORES.get(measure)
    if score is None:
        return None
    second, is_second = found.predictions[:, 1], np.asarray(found.targets) == 1
    threshold = _best(second, is_second, score)
    apart = np.random.default_rng(0).permutation(len(second)) % FOLDS
    honest = np.zeros(len(second), dtype=np.bool_)
    for fold in range(FOLDS):
        own = apart == fold
        honest[own] = second[own] > _best(second[~own], is_second[~own], score)
    weights = resample_weights(len(second), resamples=max(2, min(_RESAMPLES, _MOST_WEIGHTS // len(second))))
    gains = _scored(honest, is_second, weights, score) - _scored(second > HALF, is_second, weights, score)
    half = _QUANTILE * float(np.nanstd(gains[1:]))
    one, sign = np.ones((1, len(second))), -1.0 if measure == "cost" else 1.0
    return ChosenThreshold(
        trial=found.trial,
        answer=found.names[1],
        measure=measure,
        threshold=threshold,
        value=sign * float(_scored(second > threshold, is_second, one, score)[0]),
        usual=sign * float(_scored(second > HALF, is_second, one, score)[0]),
        gain=Interval(float(gains[0]) - half, float(gains[0]) + half),
        honest_gain=float(gains[0]),
    )


def _best(second: Array, is_second: _Bools, score: _Score) -> float:
    """The threshold of the best score, of equals that next to one half."""
    values = np.unique(second)
    if len(values) > _MOST_CANDIDATES:
        values = np.unique(np.quantile(values, np.linspace(0, 1, _MOST_CANDIDATES)))
    ends = np.array([values[0] / 2, (values[-1] + 1) / 2, HALF])
    candidates = np.concatenate([(values[1:] + values[:-1]) / 2, ends])
    yes, no = np.sort(second[is_second]), np.sort(second[~is_second])
    true, false = (len(own) - np.searchsorted(own, candidates, side="right").astype(np.float64) for own in (yes, no))
    scores = score(true, false, len(yes) - true, len(no) - false)
    best = np.flatnonzero(scores >= np.nanmax(scores) - 1e-12)
    return float(candidates[best[np.abs(candidates[best] - HALF).argmin()]])


def _scored(said: _Bools, is_second: _Bools, weights: Array, score: _Score) -> Array:
    """The score of decisions on each resample; weights are (B, n)."""
    parts = [(said, is_second), (said, ~is_second), (~said, is_second), (~said, ~is_second)]
    return score(*(weights @ (a & b).astype(np.float64) for a, b in parts))


def _cost(rule: Mapping[str, object]) -> _Score | None:
    """Less the cost of an example; None where the costs, which a database holds, are no numbers."""
    negative, positive = (rule.get(name) for name in ("false_negative", "false_positive"))
    if not (isinstance(negative, int | float) and isinstance(positive, int | float)):
        return None
    return lambda tp, fp, fn, tn: -(negative * fn + positive * fp) / (tp + fp + fn + tn)


def _share(part: Array, of: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return part / of


_SCORES: dict[str, _Score] = {
    "accuracy": lambda tp, fp, fn, tn: (tp + tn) / (tp + fp + fn + tn),
    "balanced_accuracy": lambda tp, fp, fn, tn: (_share(tp, tp + fn) + _share(tn, tn + fp)) / 2,
    "f1": lambda tp, fp, fn, tn: (_share(2 * tp, 2 * tp + fp + fn) + _share(2 * tn, 2 * tn + fp + fn)) / 2,
}
"""Over both classes, as the metrics of these names are."""
