"""What the dev metrics of the best trials would have been on other dev sets, from their dev predictions on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.diagnose.intervals import Interval, auroc_interval, wilson_interval
from tuner.paths import StudyPaths, TrialPaths, samples_beside
from tuner.records import Direction, TrialRecord
from tuner.report.certainty.resampling import (
    bootstrap_interval,
    distinct,
    example_values,
    resample_weights,
    resampled_means,
    resampled_metric,
)
from tuner.report.certainty.weighted import Array, example_losses
from tuner.spec.known.metrics import METRICS, SHARES

_QUANTILE = 1.96
_MAX_TRIALS = 100
"""So many of the best trials are compared by their predictions; more would read too many files."""
_WORK = 400_000_000
"""Bound of resamples x examples x trials: about two seconds."""
_WEIGHTS = 50_000_000
"""Bound of resamples x examples, which are held at once: 400 MB."""
_MAX_RESAMPLES = 1000
_MIN_RESAMPLES = 200
_ROUNDING = 1e-4
_MOST_UNKNOWN = 0.2
"""Of the resamples, on which the user's metric is no number."""
_LATER: Array = np.empty(0)
"""Stands for resamples that are worked out with others."""


@dataclass(frozen=True, slots=True)
class DevScores:
    """Paired bootstrap of the dev metric: every trial on the same B resamples of the dev set."""

    trials: tuple[int, ...]
    """Trial numbers, best first."""
    metric: str
    values: Array
    """The dev metric of each, shape (trials,)."""
    samples: Array
    """Of each on every resample, centred on its value, shape (B, trials)."""
    num_examples: int
    class_counts: tuple[int, ...] = ()
    """Dev examples of each class; empty for regression."""
    examples: NDArray[np.generic] | None = None
    """Which example each row of predictions is of, where folds are repeated."""
    half_of_loss: int = 0
    """So few dev examples make up half of the best trial's squared error or loss; 0 for metrics without one."""

    def half_width(self, one: int, other: int) -> float:
        """Of the interval of the difference of the metrics of the trials at these two indices, pair by pair."""
        spread = float((self.samples[:, one] - self.samples[:, other]).std())
        return paired_half_width(self.metric, spread, self.num_examples)

    def interval(self, index: int) -> Interval:
        """Of the dev metric of the trial at this index: by how much other dev sets of this size would change it."""
        value, samples = float(self.values[index]), self.samples[:, index]
        return interval_of(self.metric, value, samples, self.num_examples, class_counts=self.class_counts)


def paired_half_width(metric: str, spread: float, num_examples: int) -> float:
    """Of the 95 % interval of a paired difference with so large a bootstrap spread.

    Of two networks that are right and wrong on the same examples no resample shows a difference, which other examples
    may: then it is that of the score interval without discordant pairs (Tango 1998).
    """
    if spread == 0 and metric in SHARES:
        return _QUANTILE**2 / (num_examples + _QUANTILE**2)
    return _QUANTILE * spread


def interval_of(
    metric: str, value: float, samples: Array, num_examples: int, *, class_counts: tuple[int, ...]
) -> Interval:
    """By how much as many other examples would change a metric, by its own formula or else resampled.

    Args:
        metric: Its name.
        value: On these examples.
        samples: On resamples of them.
        num_examples: How many they are.
        class_counts: How many of each class; empty for other targets.
    """
    if metric in ("accuracy", "subset_accuracy"):
        return wilson_interval(value, num_examples)
    if metric == "auroc" and class_counts:
        return auroc_interval(value, class_counts=class_counts, variance=float(samples.var()))
    return bootstrap_interval(metric, value, samples, num_examples)


def load_dev_scores(
    records: Sequence[TrialRecord],
    *,
    metric: str,
    paths: StudyPaths,
    place: Callable[[int], TrialPaths] | None = None,
    num_trials: int = _MAX_TRIALS,
) -> DevScores | None:
    """Resample the dev metric of the first records whose predictions are on disk.

    Args:
        records: Ranked trials, best first.
        metric: The objective's metric.
        paths: The study's files.
        place: Where a record's files lie; `paths.trial` if None.
        num_trials: How many records at most.

    Returns:
        None if there are no dev targets, no usable predictions, or if the metric is not known here.
    """
    targets = load_array(paths.dev_targets)
    if targets is None or len(targets) < 2:
        return None
    fitting = max(10, _WORK // (_MIN_RESAMPLES * len(targets)))
    place = place or paths.trial
    candidates: list[tuple[int, float, Path | Array]] = [
        (r.number, r.value, place(r.number).predictions) for r in records if r.value is not None
    ]
    few = candidates[: min(num_trials, fitting)]
    return scores_of(few, metric=metric, targets=targets, examples=dev_examples(paths, targets))


def dev_examples(paths: StudyPaths, targets: NDArray[np.generic]) -> NDArray[np.generic] | None:
    """Which example each row of dev predictions is of, where folds are repeated; None where each row is one."""
    found = load_array(paths.dev_examples)
    return found if found is not None and found.shape == targets.shape[:1] and found.dtype.kind == "i" else None


def scores_of(
    candidates: Sequence[tuple[int, float, Path | Array]],
    *,
    metric: str,
    targets: NDArray[np.generic],
    examples: NDArray[np.generic] | None = None,
) -> DevScores | None:
    """Resample the metric of predictions, as far as they are usable.

    Args:
        candidates: Of each a number by which it is known, its metric, its predictions or where they lie; best first.
        metric: One of `METRICS`, or the user's, of which what training has resampled is taken.
        targets: What was to be predicted.
        examples: Which example each of these is of, where folds are repeated.
    """
    fitting = min(_WORK // (len(targets) * max(1, len(candidates))), _WEIGHTS // len(targets))
    resamples = int(np.clip(fitting, _MIN_RESAMPLES, _MAX_RESAMPLES))
    weights = resample_weights(len(targets), resamples=resamples, examples=examples)
    if metric in METRICS:
        resampled = _resampled(candidates, metric, targets, weights)
    else:
        resampled = [_stored_samples(value, p) if isinstance(p, Path) else None for _, value, p in candidates]
    found = [candidate for candidate, column in zip(candidates, resampled, strict=True) if column is not None]
    columns = [column for column in resampled if column is not None]
    if not found:
        return None
    shortest = min(map(len, columns))  # of a metric of the user's there are as many as there was time for
    columns = [column[:shortest] for column in columns]
    values = np.array([value for _, value, _ in found], dtype=np.float64)
    numbers, samples = tuple(number for number, _, _ in found), np.stack(columns, axis=1)
    each_once = targets if examples is None else targets[np.unique(examples, return_index=True)[1]]
    counts: tuple[int, ...] = ()
    if targets.ndim == 1 and targets.dtype.kind in "iu":
        counts = tuple(np.bincount(each_once.astype(np.int64)).tolist())
    half_of_loss = _half_of_loss(found[0][2], metric, targets, examples)
    return DevScores(numbers, metric, values, samples, len(each_once), counts, examples, half_of_loss)


def _half_of_loss(
    place: Path | Array, metric: str, targets: NDArray[np.generic], examples: NDArray[np.generic] | None
) -> int:
    predictions = _loaded(place)
    if metric not in ("rmse", "r2", "loss") or predictions is None:
        return 0
    losses = example_losses(predictions.reshape(len(targets), -1).astype(np.float64), targets)
    if examples is not None:
        losses = np.bincount(distinct(examples), weights=losses).astype(np.float64)
    losses = np.sort(losses)[::-1]
    return int(np.searchsorted(np.cumsum(losses), losses.sum() / 2)) + 1


def _resampled(
    candidates: Sequence[tuple[int, float, Path | Array]], metric: str, targets: NDArray[np.generic], weights: Array
) -> list[Array | None]:
    """The metric of each on the resamples, in the trainer's units; None of predictions that are of no use."""
    each: list[Array] = []  # of a metric that is a mean, whose resamples are one product for all
    samples: list[Array | None] = []
    for _, _, place in candidates:
        predictions = _loaded(place)
        if predictions is None or predictions.shape[:1] != targets.shape[:1]:
            samples.append(None)
            continue
        columns = predictions if predictions.ndim == 2 else predictions[:, None]
        values = example_values(metric, columns, targets)
        if values is not None:
            each.append(values)
        samples.append(_LATER if values is not None else resampled_metric(metric, columns, targets, weights))
    if each:
        means = iter(resampled_means(metric, np.stack(each, axis=1), weights).T)
        samples = [next(means) if one is _LATER else one for one in samples]
    return [
        None if one is None else _in_its_units(value, one, metric)
        for one, (_, value, _) in zip(samples, candidates, strict=True)
    ]


def _loaded(place: Path | Array) -> NDArray[np.generic] | None:
    return load_array(place) if isinstance(place, Path) else place


def _in_its_units(value: float, samples: Array, metric: str) -> Array | None:
    known = samples[~np.isnan(samples)]
    if len(known) == 0 or np.isnan(samples[0]):
        return None
    filled = np.where(np.isnan(samples), np.median(known), samples)
    # The first row is the dev set itself, where the trainer's own figure holds: it may be in other units.
    own, rest = filled[0], filled[1:]
    is_error = METRICS[metric].direction is Direction.MINIMIZE
    scaled: Array = rest * (value / own) if is_error and own > 0 else rest - own + value
    return scaled


def _stored_samples(value: float, path: Path) -> Array | None:
    """The user's metric on resamples, the same ones for each trial; None where they tell nothing."""
    samples = load_array(samples_beside(path))
    if samples is None or samples.ndim != 1 or len(samples) < 2 or not np.isfinite(samples[0].astype(np.float64)):
        return None
    values = samples.astype(np.float64)
    if abs(values[0] - value) > _ROUNDING * max(1.0, abs(value)) or np.isnan(values).mean() > _MOST_UNKNOWN:
        return None
    filled: Array = np.where(np.isnan(values), np.nanmedian(values), values)[1:]
    # Without a mistake in any resample nothing is known of the noise: of tuner's metrics their own intervals help then.
    return filled if np.ptp(filled) > 0 else None


def load_array(path: Path) -> NDArray[np.generic] | None:
    """What a study keeps of its dev set in a file; None where there is none, or it is damaged."""
    try:
        with path.open("rb") as file:  # an archive in its place is no array
            loaded: NDArray[np.generic] = np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError, OverflowError, SyntaxError):  # damaged, or forged
        return None
    return loaded if loaded.ndim in (1, 2) else None
