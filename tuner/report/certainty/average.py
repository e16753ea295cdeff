"""The mean of the best trials' predictions on the dev set, beside the winner's alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.diagnose.intervals import Interval
from tuner.paths import StudyPaths
from tuner.records import Direction, TrialRecord
from tuner.report.certainty.dev_scores import dev_examples, load_array, paired_half_width
from tuner.report.certainty.resampling import distinct, resample_weights, resampled_metric
from tuner.report.certainty.tested import average_of_test, stored_tests
from tuner.report.certainty.weighted import Array
from tuner.spec.known.metrics import METRICS
from tuner.store.study_data import StudyData

_RESAMPLES = 400
_HALVINGS = 25
"""Each gives two halves, one to choose by and one to score on."""
_CANDIDATES = 20
"""So many of the best trials may be chosen anew by a half."""
_WORK = 40_000_000
"""Bound of resamples x numbers predicted: what is larger is not resampled."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AverageGain:
    """The mean of several trials' predictions, beside those of the first of them."""

    trials: tuple[int, ...]
    """Which are averaged, the winner first: so many of the best as are best together on the dev set, two at least."""
    value: float
    """The metric of the mean."""
    usual: float
    """The winner's own."""
    gain: Interval
    """By how much the mean is better; what other examples, as many, would make of it."""
    chosen_apart: float | None = None
    """The gain where one half of the dev examples has chosen the trials, and how many, and the other has scored them:
    the mean over halvings. None where that is not known."""

    @property
    def is_chosen(self) -> bool:
        """Whether the mean is as good as the winner on dev, and not clearly worse on examples that have not chosen."""
        return self.gain.middle >= 0 and (self.chosen_apart is None or self.chosen_apart + self.gain.half_width >= 0)


def average_gain(
    study: StudyData, paths: StudyPaths | None, trials: Sequence[TrialRecord], ranked: Sequence[TrialRecord]
) -> AverageGain | None:
    """What an average gains on the dev set; None where that is not known, or there is nothing to average.

    Args:
        study: The study.
        paths: Where dev predictions lie.
        trials: Those that may be averaged, the winner first; from its end those are left out that make it worse.
        ranked: All finished trials, best first: those that another dev set might have chosen.
    """
    if paths is None or len(trials) < 2 or trials[0].value is None or study.metric not in METRICS:
        return None
    targets = load_array(paths.dev_targets)
    predictions = [predictions_of(paths.trial(record.number).predictions, targets) for record in trials]
    if targets is None or any(one is None for one in predictions):
        return None
    loaded = [one for one in predictions if one is not None]
    examples, means = dev_examples(paths, targets), _means(loaded)
    scores = [_metric(study, mean, targets, np.ones((1, len(targets)))) for mean in means]
    count = 2 + _last_best([float(score[0]) for score in scores[1:]])
    found = _compared(study, targets, loaded[0], means[count - 1], usual=trials[0].value, examples=examples)
    if found is None:
        return None
    value, gain = found
    return AverageGain(
        trials=tuple(record.number for record in trials[:count]),
        value=value,
        usual=trials[0].value,
        gain=gain,
        chosen_apart=_chosen_apart(study, paths, targets, ranked, most=len(trials)),
    )


def average_as_tested(study: StudyData, paths: StudyPaths | None) -> AverageGain | None:
    """What an average gained on the test examples, as they were opened last; None where none was asked."""
    tests = stored_tests(study)
    facts = average_of_test(tests[-1]) if tests else None
    if paths is None or facts is None:
        return None
    targets, usual = load_array(paths.tested("targets")), tests[-1].get("value")
    own, mean = (predictions_of(paths.tested(name), targets) for name in ("predictions", "average"))
    if targets is None or own is None or mean is None or not isinstance(usual, int | float):
        return None
    found = _compared(study, targets, own, mean, usual=usual)
    return (
        None
        if found is None
        else AverageGain(trials=tuple(facts["trials"]), value=found[0], usual=usual, gain=found[1])
    )


def _compared(
    study: StudyData,
    targets: NDArray[np.generic],
    own: Array,
    mean: Array,
    *,
    usual: float,
    examples: NDArray[np.generic] | None = None,
) -> tuple[float, Interval] | None:
    """The metric of averaged predictions, and the interval of its gain over one trial's; None if it is not known.

    Args:
        study: Says the metric.
        targets: What was to be predicted.
        own: Predictions of the one trial, shape (examples, outputs).
        mean: The averaged ones.
        usual: The one trial's metric, in the units in which it is reported.
        examples: Which example each of the targets is of, where folds are repeated.
    """
    if len(targets) < 2 or _RESAMPLES * len(targets) > _WORK:
        return None
    weights = resample_weights(len(targets), resamples=_RESAMPLES, examples=examples)
    count = len(targets) if examples is None else int(distinct(examples).max()) + 1
    one, mean = (resampled_metric(study.metric, each, targets, weights) for each in (own, mean))
    known = ~(np.isnan(one) | np.isnan(mean))
    if not known[0] or known.sum() < 2:
        return None
    differences = _in_units((mean - one)[known], usual=usual, computed=float(one[0]), metric=study.metric)
    half = paired_half_width(study.metric, float(differences[1:].std()), count)
    gain = study.direction.sign * float(differences[0])
    return usual + float(differences[0]), Interval(gain - half, gain + half)


def _chosen_apart(
    study: StudyData, paths: StudyPaths, targets: NDArray[np.generic], ranked: Sequence[TrialRecord], *, most: int
) -> float | None:
    """The mean gain of an average of so many at most over the best one, chosen by one half and scored on the other."""
    candidates = [r for r in ranked if r.violation <= ranked[0].violation and r.value is not None][:_CANDIDATES]
    found = [(r, predictions_of(paths.trial(r.number).predictions, targets)) for r in candidates]
    loaded = [(record, own) for record, own in found if own is not None]
    if len(loaded) < 2 or 2 * _HALVINGS * sum(own.size for _, own in loaded) > _WORK:
        return None
    examples = dev_examples(paths, targets)
    halves = halves_of(len(targets), examples)
    flat = halves.reshape(-1, len(targets))
    each = np.stack([_metric(study, own, targets, flat) for _, own in loaded]).reshape(len(loaded), len(halves), 2)
    gains = []
    for chosen_by, scored_on in ((0, 1), (1, 0)):
        for halving, weights in enumerate(halves):
            order = np.argsort(-each[:, halving, chosen_by], kind="stable")[:most]
            means = _means([loaded[index][1] for index in order])[1:]
            of_means = [_metric(study, mean, targets, weights).tolist() for mean in means]
            own = of_means[_last_best([scores[chosen_by] for scores in of_means])][scored_on]
            gains.append(own - float(each[order[0], halving, scored_on]))
    record, own = loaded[0]
    whole = float(resampled_metric(study.metric, own, targets, np.ones((1, len(targets))))[0])
    in_units = _in_units(np.array(gains), usual=record.value or 0.0, computed=whole, metric=study.metric)
    known = in_units[np.isfinite(in_units)]
    return float(known.mean()) if len(known) else None


def halves_of(num_rows: int, examples: NDArray[np.generic] | None) -> Array:
    """Weights of the two halves of each halving, shape (halvings, 2, rows); all rows of an example are in one."""
    codes = np.arange(num_rows) if examples is None else distinct(examples)
    num_examples, rng = int(codes.max()) + 1, np.random.default_rng(0)
    first = np.zeros((_HALVINGS, num_examples))
    for row in first:
        row[rng.permutation(num_examples)[: num_examples // 2]] = 1
    first = first[:, codes]
    return np.stack([first, 1 - first], axis=1)


def _in_units(differences: Array, *, usual: float, computed: float, metric: str) -> Array:
    """Differences of a metric in the units in which the trainer's own figure is reported."""
    is_error = METRICS[metric].direction is Direction.MINIMIZE
    return differences * (usual / computed) if is_error and computed > 0 else differences


def _means(predictions: Sequence[Array]) -> list[Array]:
    """The mean of the first, of the first two, and so on."""
    return [total / count for count, total in enumerate(accumulate(predictions), start=1)]


def _last_best(scores: Sequence[float]) -> int:
    """The place of the best score; of equally good ones the last, since more networks err less."""
    return len(scores) - 1 - int(np.argmax(scores[::-1]))


def _metric(study: StudyData, predictions: Array, targets: NDArray[np.generic], weights: Array) -> Array:
    """The study's metric on each resample, such that more is better; what cannot be told is the worst."""
    found = study.direction.sign * resampled_metric(study.metric, predictions, targets, weights)
    return np.nan_to_num(found, nan=-np.inf)


def mean_predictions(paths: StudyPaths, trials: Sequence[int]) -> Array | None:
    """The mean of what trials predict of the dev examples; None where that is not stored of all of them."""
    targets = load_array(paths.dev_targets)
    each = [predictions_of(paths.trial(number).predictions, targets) for number in trials]
    loaded = [one for one in each if one is not None]
    return _means(loaded)[-1] if loaded and len(loaded) == len(each) else None


def predictions_of(path: Path, targets: NDArray[np.generic] | None) -> Array | None:
    """Stored predictions as columns; None where there are none of these examples."""
    found = load_array(path)
    if found is None or targets is None or len(found) != len(targets):
        return None
    return found.reshape(len(found), -1).astype(np.float64)
