"""From which probability on the second of two classes is best answered, as the dev set tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner.diagnose.intervals import Interval
from tuner.paths import StudyPaths
from tuner.report.certainty.average import halves_of, mean_predictions
from tuner.report.certainty.dev_scores import dev_examples, load_array, paired_half_width
from tuner.report.certainty.resampling import distinct, resample_weights, resampled_metric
from tuner.report.certainty.weighted import Array
from tuner.store.study_data import StudyData

USUAL = 0.5
_OF_DECISIONS = ("accuracy", "balanced_accuracy", "f1", "quadratic_kappa")
"""Metrics that a threshold can better; `precision` or `recall` alone is best at one of its ends."""
_CUTS = 50
"""Thresholds that are tried: between quantiles of the probabilities."""
_RESAMPLES = 200
_WORK = 400_000_000
"""Bound of thresholds x resamples x examples: what is larger is left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ThresholdGain:
    """The best threshold beside one half."""

    threshold: float
    metric: str
    """By which it was chosen: the study's, or F1 where that is of probabilities."""
    value: float
    usual: float
    """At one half."""
    gain: Interval
    """Where one half of the dev examples has chosen the threshold and the other has scored it; as wide as as many other
    dev examples would make it."""

    @property
    def chosen_apart(self) -> float:
        return self.gain.middle


def threshold_gain(study: StudyData, paths: StudyPaths | None, trials: Sequence[int]) -> ThresholdGain | None:
    """What the best threshold of the mean of these trials gains; None where there are not two classes."""
    targets = None if paths is None else load_array(paths.dev_targets)
    mean = None if paths is None or not trials else mean_predictions(paths, trials)
    if paths is None or targets is None or mean is None or targets.ndim != 1 or mean.shape[1] != 2:
        return None
    probabilities = mean[:, 1]
    at = np.unique(np.quantile(probabilities, np.linspace(0, 1, _CUTS)))
    cuts = np.append((at[1:] + at[:-1]) / 2, USUAL)
    examples = dev_examples(paths, targets)
    halves = halves_of(len(targets), examples).reshape(-1, len(targets))
    if len(cuts) * (len(halves) + _RESAMPLES) * len(targets) > _WORK:
        return None
    weights = np.concatenate([resample_weights(len(targets), resamples=_RESAMPLES, examples=examples), halves])
    metric = study.metric if study.metric in _OF_DECISIONS else "f1"
    scores = np.stack([_decided(metric, probabilities >= cut, targets, weights) for cut in cuts])
    best = _best(scores[:, 0], cuts)
    apart = []
    for first, second in scores[:, _RESAMPLES:].reshape(len(cuts), -1, 2).transpose(1, 2, 0):
        for chosen_by, scored_on in ((first, second), (second, first)):
            apart.append(scored_on[_best(chosen_by, cuts)] - scored_on[-1])
    honest = float(np.mean(apart))
    spread = float((scores[best, 1:_RESAMPLES] - scores[-1, 1:_RESAMPLES]).std())
    half = paired_half_width(metric, spread, len(targets) if examples is None else int(distinct(examples).max()) + 1)
    return ThresholdGain(
        threshold=float(cuts[best]), metric=metric, value=float(scores[best, 0]), usual=float(scores[-1, 0]),
        gain=Interval(honest - half, honest + half),
    )  # fmt: skip


def _decided(metric: str, is_second: NDArray[np.bool_], targets: NDArray[np.generic], weights: Array) -> Array:
    """A metric of decisions on each resample; 0 where it cannot be told, as without an example of a class."""
    return np.nan_to_num(resampled_metric(metric, np.stack([~is_second, is_second], axis=1), targets, weights))


def _best(scores: Array, cuts: Array) -> int:
    """The place of the best threshold; of equally good ones that nearest to one half."""
    best = np.flatnonzero(scores >= scores.max())
    return int(best[np.argmin(np.abs(cuts[best] - USUAL))])
