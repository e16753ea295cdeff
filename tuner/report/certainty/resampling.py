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
from tuner.report.certainty.weighted import Array, are_classes, are_labels, each_metric, weighted_metric
from tuner.spec.known import metrics as known
from tuner.train.measure import multi_label, scoring

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
    weighted = weighted_metric(metric, targets)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (weighted or partial(_by_repetition, metric))(shares, targets, weights)


def example_values(metric: str, predictions: NDArray[np.generic], targets: NDArray[np.generic]) -> Array | None:
    """What a metric is the mean of, for each example, shape (n,); None of one that is no mean. Of RMSE the squares."""
    each = each_metric(metric, targets)
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
    if are_labels(targets):
        compute: Callable[..., Array] = multi_label.METRICS[metric]
        outputs = np.asarray(logit(np.clip(predictions, _TINY, 1 - _TINY)))
    elif metric in scoring.METRICS_IN_UNITS:
        compute = partial(scoring.METRICS_IN_UNITS[metric], std_T=np.ones(predictions.shape[1]))
    elif metric in scoring.METRICS_OF_VALUES:
        ones = np.ones(predictions.shape[1])
        compute = partial(scoring.METRICS_OF_VALUES[metric], std_T=ones, mean_T=0 * ones)
    else:
        compute = scoring.METRICS[metric]
    if are_classes(predictions, targets):
        outputs = np.log(np.maximum(predictions, _TINY))
    truth: NDArray[Any] = targets if are_classes(predictions, targets) else targets.reshape(len(targets), -1)
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
