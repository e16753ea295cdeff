"""Metrics of examples that count several times, or not at all: of many resamples at once, by products.

Shapes: n dev examples, B resamples, C classes or targets.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tuner.train.measure import scoring

Array = NDArray[np.float64]
_Metric = Callable[[Array, NDArray[np.generic], Array], Array]
_Each = Callable[[Array, NDArray[np.generic]], Array]


def each_metric(metric: str, targets: NDArray[np.generic]) -> _Each | None:
    """What gives of each example that which the metric is the mean of, shape (n,); None of one that is no mean."""
    return (_EACH_OF_LABELS if are_labels(targets) else _EACH).get(metric)


def weighted_metric(metric: str, targets: NDArray[np.generic]) -> _Metric | None:
    """What gives the metric on each resample from predictions, targets and weights, shape (B,); None without one."""
    return (_WEIGHTED_OF_LABELS if are_labels(targets) else _WEIGHTED).get(metric)


def example_losses(predictions: Array, targets: NDArray[np.generic]) -> Array:
    """Cross entropy of each example for classes and labels, else squared error, averaged over outputs; shape (n,)."""
    if are_labels(targets):
        right = np.where(np.asarray(targets) > 0, predictions, 1 - predictions)
        return np.asarray(-np.log(np.maximum(right, 1e-12)).mean(axis=1))
    if are_classes(predictions, targets):
        chosen = predictions[np.arange(len(targets)), targets.astype(np.int64)]
        return -np.log(np.maximum(chosen, 1e-12))
    return np.asarray(((predictions - targets.reshape(len(targets), -1).astype(np.float64)) ** 2).mean(axis=1))


def _is_right(predictions: Array, targets: NDArray[np.generic]) -> Array:
    return np.asarray((predictions.argmax(axis=1) == targets).astype(np.float64))


def _is_in_top5(predictions: Array, targets: NDArray[np.generic]) -> Array:
    own = predictions[np.arange(len(targets)), targets.astype(np.int64)]
    return np.asarray(((predictions > own[:, None]).sum(axis=1) < 5).astype(np.float64))


def _brier(predictions: Array, targets: NDArray[np.generic]) -> Array:
    squared = (predictions - _one_hot(targets, predictions.shape[1])) ** 2
    return np.asarray(squared[:, 1] if predictions.shape[1] == 2 else squared.sum(axis=1))


def _squared_error(predictions: Array, targets: NDArray[np.generic]) -> Array:
    return np.asarray(((predictions - _columns(targets)) ** 2).mean(axis=1))


def _absolute_error(predictions: Array, targets: NDArray[np.generic]) -> Array:
    return np.asarray(np.abs(predictions - _columns(targets)).mean(axis=1))


def _is_wholly_right(predictions: Array, targets: NDArray[np.generic]) -> Array:
    return np.asarray(((predictions > 0.5) == (np.asarray(targets) > 0)).all(axis=1).astype(np.float64))


_EACH: dict[str, _Each] = {
    "accuracy": _is_right,
    "top5_accuracy": _is_in_top5,
    "brier": _brier,
    "rmse": _squared_error,
    "mae": _absolute_error,
    "loss": example_losses,
}
_EACH_OF_LABELS: dict[str, _Each] = {"subset_accuracy": _is_wholly_right, "loss": example_losses}


def _balanced_accuracy(predictions: Array, targets: NDArray[np.generic], weights: Array) -> Array:
    is_class = _one_hot(targets, predictions.shape[1])
    right = is_class * (predictions.argmax(axis=1) == targets)[:, None]
    return _mean_over_classes(weights @ right, weights @ is_class)


def _f1(predictions: Array, targets: NDArray[np.generic], weights: Array) -> Array:
    classes = predictions.shape[1]
    truth, said = _one_hot(targets, classes), _one_hot(predictions.argmax(axis=1), classes)
    both = weights @ (truth * said)
    either = weights @ truth + weights @ said
    if classes == 2:  # F1 of the positive class
        return 2 * both[:, 1] / np.maximum(either[:, 1], 1e-12)
    return _mean_over_classes(2 * both, either)


def _precision(predictions: Array, targets: NDArray[np.generic], weights: Array) -> Array:
    return _share_of_hits(predictions, targets, weights, of_targets=False)


def _recall(predictions: Array, targets: NDArray[np.generic], weights: Array) -> Array:
    return _share_of_hits(predictions, targets, weights, of_targets=True)


def _share_of_hits(predictions: Array, targets: NDArray[np.generic], weights: Array, *, of_targets: bool) -> Array:
    classes = predictions.shape[1]
    truth, said = _one_hot(targets, classes), _one_hot(predictions.argmax(axis=1), classes)
    share = weights @ (truth * said) / np.maximum(weights @ (truth if of_targets else said), 1e-12)
    if classes == 2:
        return np.asarray(share[:, 1])
    occurs = weights @ (truth + said) > 0
    return np.asarray((share * occurs).sum(axis=1) / occurs.sum(axis=1))


def _auroc(predictions: Array, targets: NDArray[np.generic], weights: Array) -> Array:
    classes = predictions.shape[1]
    truth = _one_hot(targets, classes)
    one_class = range(1, 2) if classes == 2 else range(classes)
    each = np.stack([_binary_auroc(predictions[:, c], truth[:, c], weights) for c in one_class], axis=1)
    return _mean_of_known(each)


def _binary_auroc(scores: Array, positive: Array, weights: Array) -> Array:
    """Share of (positive, negative) pairs in the right order, ties counting half."""
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    ordered = weights[:, order]
    positives = np.add.reduceat(ordered * positive[order], starts, axis=1)
    negatives = np.add.reduceat(ordered * (1 - positive[order]), starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return np.where(pairs > 0, (positives * (below + negatives / 2)).sum(axis=1) / pairs, np.nan)


def _r2(predictions: Array, targets: NDArray[np.generic], weights: Array) -> Array:
    truth = _columns(targets)
    total = weights.sum(axis=1, keepdims=True)
    residual = weights @ (predictions - truth) ** 2
    spread = weights @ truth**2 - (weights @ truth) ** 2 / total
    return _mean_of_known(np.where(spread > 0, 1 - residual / spread, np.nan))


def _mape(predictions: Array, targets: NDArray[np.generic], weights: Array) -> Array:
    truth = _columns(targets)
    known = np.abs(truth) > scoring.ZERO * np.abs(truth).mean(axis=0)
    share = np.abs(predictions - truth) / np.where(known, np.abs(truth), 1.0)
    total = weights @ known
    return _mean_of_known(np.where(total > 0, weights @ (share * known) / total, np.nan))


_WEIGHTED: dict[str, _Metric] = {
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "precision": _precision,
    "recall": _recall,
    "auroc": _auroc,
    "mape": _mape,
    "r2": _r2,
}


def _label_counts(predictions: Array, targets: NDArray[np.generic], weights: Array) -> tuple[Array, Array]:
    """For each label: how often it is had and given; how often it is had, plus how often it is given; shapes (B, C)."""
    truth, said = np.asarray(targets, dtype=np.float64), (predictions > 0.5).astype(np.float64)
    return weights @ (truth * said), weights @ truth + weights @ said


def _label_f1(predictions: Array, targets: NDArray[np.generic], weights: Array) -> Array:
    both, either = _label_counts(predictions, targets, weights)
    return _mean_over_classes(2 * both, either)


def _label_micro_f1(predictions: Array, targets: NDArray[np.generic], weights: Array) -> Array:
    both, either = _label_counts(predictions, targets, weights)
    return np.asarray(2 * both.sum(axis=1) / np.maximum(either.sum(axis=1), 1e-12))


def _label_auroc(predictions: Array, targets: NDArray[np.generic], weights: Array) -> Array:
    truth = np.asarray(targets, dtype=np.float64)
    each = [_binary_auroc(predictions[:, c], truth[:, c], weights) for c in range(truth.shape[1])]
    return _mean_of_known(np.stack(each, axis=1))


_WEIGHTED_OF_LABELS: dict[str, _Metric] = {
    "f1": _label_f1,
    "micro_f1": _label_micro_f1,
    "auroc": _label_auroc,
}
"""Of multi-label data."""


def are_labels(targets: NDArray[np.generic]) -> bool:
    """Whether these are labels of 0 and 1."""
    return targets.ndim == 2 and targets.dtype.kind in "bu"


def are_classes(predictions: Array, targets: NDArray[np.generic]) -> bool:
    """Whether these are classes with probabilities of each."""
    return targets.ndim == 1 and predictions.shape[1] > 1


def _one_hot(targets: NDArray[np.generic], classes: int) -> Array:
    return np.asarray((np.asarray(targets)[:, None] == np.arange(classes)).astype(np.float64))


def _columns(targets: NDArray[np.generic]) -> Array:
    return np.asarray(targets, dtype=np.float64).reshape(len(targets), -1)


def _mean_over_classes(numerator: Array, denominator: Array) -> Array:
    """Mean of the ratios over the classes that occur in each resample, shape (B,)."""
    return _mean_of_known(np.where(denominator > 0, numerator / denominator, np.nan))


def _mean_of_known(values: Array) -> Array:
    """Row means that skip NaN; NaN where a row has nothing else."""
    known = ~np.isnan(values)
    return np.asarray(np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1))
