"""From which probability on the second of two classes is best answered, as the dev set tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tuner.diagnose.intervals import Interval
from tuner.paths import StudyPaths
from tuner.report.certainty.average import halves_of, mean_predictions, predictions_of
from tuner.report.certainty.dev_scores import dev_examples, load_array, paired_half_width
from tuner.report.certainty.resampling import distinct, resample_weights, resampled_metric
from tuner.report.certainty.tested import answer_of_test, stored_tests
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

    trials: tuple[int, ...]
    """Whose mean predictions it decides on."""
    threshold: float
    metric: str
    """By which it was chosen: the study's, or F1 where that is of probabilities."""
    value: float
    usual: float
    """At one half."""
    gain: Interval
    """On examples that have not chosen the threshold, as wide as as many other ones would make it: test examples, or
    dev examples where one half has chosen it and the other has scored it."""

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
        trials=tuple(trials), threshold=float(cuts[best]), metric=metric, value=float(scores[best, 0]),
        usual=float(scores[-1, 0]), gain=Interval(honest - half, honest + half),
    )  # fmt: skip


def threshold_as_tested(study: StudyData, paths: StudyPaths | None, gain: ThresholdGain | None) -> ThresholdGain | None:
    """What the threshold that dev chose has on the test examples, as they were opened last.

    None where they were opened for other trials than dev chose it for.

    Args:
        study: The study.
        paths: Where the predictions of the test examples lie.
        gain: What dev says of the threshold of the study's answer of now.
    """
    tests = stored_tests(study)
    if paths is None or gain is None or not tests or set(answer_of_test(tests[-1])) != set(gain.trials):
        return None
    targets = load_array(paths.tested("targets"))
    predictions = predictions_of(paths.tested("average" if len(gain.trials) > 1 else "predictions"), targets)
    if targets is None or predictions is None or _RESAMPLES * len(targets) > _WORK:
        return None
    weights = resample_weights(len(targets), resamples=_RESAMPLES)
    value, usual = (
        _decided(gain.metric, predictions[:, 1] >= cut, targets, weights) for cut in (gain.threshold, USUAL)
    )
    differences = value - usual
    half = paired_half_width(gain.metric, float(differences[1:].std()), len(targets))
    middle = float(differences[0])
    interval = Interval(middle - half, middle + half)
    return replace(gain, value=float(value[0]), usual=float(usual[0]), gain=interval)


def _decided(metric: str, is_second: NDArray[np.bool_], targets: NDArray[np.generic], weights: Array) -> Array:
    """A metric of decisions on each resample; 0 where it cannot be told, as without an example of a class."""
    return np.nan_to_num(resampled_metric(metric, np.stack([~is_second, is_second], axis=1), targets, weights))


def _best(scores: Array, cuts: Array) -> int:
    """The place of the best threshold; of equally good ones that nearest to one half."""
    best = np.flatnonzero(scores >= scores.max())
    return int(best[np.argmin(np.abs(cuts[best] - USUAL))])
