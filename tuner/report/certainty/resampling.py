"""Bootstrap of the dev metric: what it would have been on other dev sets of the same size.

Shapes: n dev examples, B resamples, C classes or targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.diagnose.intervals import Interval, student_quantile
from tuner.records import Direction
from tuner.spec.known import metrics as known
from tuner.train.measure import multi_label, scoring

Array = NDArray[np.float64]
_Metric = Callable[[Array, NDArray[np.generic], Array], Array]
_Each = Callable[[Array, NDArray[np.generic]], Array]
_TINY = 1e-12
"""Probability that stands for 0."""


def resample_weights(
    num_rows: int, *, resamples: int, seed: int = 0, examples: NDArray[np.generic] | None = None
) -> Array:
    """How often each row of predictions occurs in each resample, shape (B, rows); the first is the dev set itself.

    Args:
        num_rows: Of the predictions.
        resamples: B.
        seed: Of the draws.
        examples: Which example each row is of, where folds are repeated: all rows of one are drawn together. Else each
            row is one.
    """
    codes = None if examples is None else distinct(examples)
    count = num_rows if codes is None else int(codes.max()) + 1
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(count, np.full(count, 1 / count), size=resamples - 1)
    weights = np.concatenate([np.ones((1, count)), counts.astype(np.float64)])
    return weights if codes is None else weights[:, codes]


def distinct(examples: NDArray[np.generic]) -> NDArray[np.intp]:
    """The examples of rows, numbered from 0 without gaps."""
    codes: NDArray[np.intp] = np.unique(examples, return_inverse=True)[1].reshape(-1)
    return codes


def resampled_metric(
    metric: str, predictions: NDArray[np.generic], targets: NDArray[np.generic], weights: Array
) -> Array:
    """The metric on each resample, shape (B,).

    Args:
        metric: Name of an objective's metric.
        predictions: Probabilities (n, C), or predicted targets (n, C).
        targets: Class indices (n,), labels (n, C) as uint8, or numbers (n, C).
        weights: Shape (B, n), from `resample_weights`.

    Raises:
        KeyError: no such metric.
    """
    each = example_values(metric, predictions, targets)
    if each is not None:
        return resampled_means(metric, each[:, None], weights)[:, 0]
    shares = np.asarray(predictions, dtype=np.float64)
    weighted = (_WEIGHTED_OF_LABELS if _are_labels(targets) else _WEIGHTED).get(metric)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (weighted or partial(_by_repetition, metric))(shares, targets, weights)


def example_values(metric: str, predictions: NDArray[np.generic], targets: NDArray[np.generic]) -> Array | None:
    """What a metric is the mean of, for each example, shape (n,); None of one that is no mean. Of RMSE the squares."""
    each = (_EACH_OF_LABELS if _are_labels(targets) else _EACH).get(metric)
    return None if each is None else each(np.asarray(predictions, dtype=np.float64), targets)


def resampled_means(metric: str, values: Array, weights: Array) -> Array:
    """A metric of several networks on each resample, shape (B, networks): one product for all of them.

    Args:
        metric: One for which there are `example_values`.
        values: These, shape (n, networks).
        weights: Shape (B, n), from `resample_weights`.
    """
    with np.errstate(invalid="ignore"):  # what a network that diverged has said
        means: Array = weights @ values / weights.sum(axis=1, keepdims=True)
    return np.sqrt(means) if metric == "rmse" else means


def _by_repetition(metric: str, predictions: Array, targets: NDArray[np.generic], weights: Array) -> Array:
    """The metric as training measures it, on each resample in turn: for those that no function here weights."""
    from scipy.special import logit  # here and below: takes a fifth of a second to load, which most reports can save

    outputs = predictions
    if _are_labels(targets):
        compute: Callable[..., Array] = multi_label.METRICS[metric]
        outputs = np.asarray(logit(np.clip(predictions, _TINY, 1 - _TINY)))
    elif metric in scoring.METRICS_IN_UNITS:
        compute = partial(scoring.METRICS_IN_UNITS[metric], std_T=np.ones(predictions.shape[1]))
    elif metric in scoring.METRICS_OF_VALUES:
        ones = np.ones(predictions.shape[1])
        compute = partial(scoring.METRICS_OF_VALUES[metric], std_T=ones, mean_T=0 * ones)
    else:
        compute = scoring.METRICS[metric]
    if _are_classes(predictions, targets):
        outputs = np.log(np.maximum(predictions, _TINY))
    truth: NDArray[Any] = targets if _are_classes(predictions, targets) else targets.reshape(len(targets), -1)
    drawn = (np.repeat(np.arange(len(targets)), counts.astype(np.int64)) for counts in weights)
    return np.array([compute(outputs.astype(np.float32)[None, rows], truth[rows])[0] for rows in drawn])


def bootstrap_interval(metric: str, value: float, samples: Array, num_examples: int) -> Interval:
    """A normal interval with the bootstrap's spread, on the metric's own scale.

    The scale (log-odds for shares, the log of the error for others) makes the spread even; measured in simulation,
    that covers better than the percentile interval does on a few hundred examples.
    """
    plain = (np.asarray, np.asarray)  # for a metric of the user's
    there, back = _scale_of(known.METRICS[metric], samples) if metric in known.METRICS else plain
    # The bootstrap's spread is too small by this factor, and known from as many examples only.
    spread = there(samples).std() * math.sqrt(num_examples / (num_examples - 1))
    half = float(student_quantile(num_examples - 1) * spread)
    centre = float(there(np.array(value)))
    ends = sorted((float(back(np.array(centre - half))), float(back(np.array(centre + half)))))
    return Interval(ends[0], ends[1])


def _log(x: Array) -> Array:
    return np.log(np.maximum(x, 1e-12))


def _log_odds(x: Array) -> Array:
    share = np.clip(x, 1e-6, 1 - 1e-6)
    return np.log(share / (1 - share))


def _scale_of(metric: known.Metric, samples: Array) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """To the scale of a metric, and back."""
    if metric.is_share:
        from scipy.special import expit

        return _log_odds, expit
    rises = metric.direction is Direction.MAXIMIZE
    if ((1 - samples if rises else samples) < _TINY).any():  # without an error in some resample there is no logarithm
        return np.asarray, np.asarray
    return (lambda x: _log(1 - x), lambda x: 1 - np.exp(x)) if rises else (_log, np.exp)


def example_losses(predictions: Array, targets: NDArray[np.generic]) -> Array:
    """Cross entropy of each example for classes and labels, else squared error, averaged over outputs; shape (n,)."""
    if _are_labels(targets):
        right = np.where(np.asarray(targets) > 0, predictions, 1 - predictions)
        return np.asarray(-np.log(np.maximum(right, 1e-12)).mean(axis=1))
    if _are_classes(predictions, targets):
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


def _are_labels(targets: NDArray[np.generic]) -> bool:
    return targets.ndim == 2 and targets.dtype.kind in "bu"


def _are_classes(predictions: Array, targets: NDArray[np.generic]) -> bool:
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
