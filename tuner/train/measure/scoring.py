"""Losses and metrics of a cohort's outputs, in NumPy.

K trials, N examples, C classes or T regression targets. A trial's value is bit-equal whoever its neighbours are:
element-wise functions give the same bits at any place, classes are summed one after the other, and the mean over
examples is taken along a contiguous float64 row. NumPy, because on the CPU its exponential over class-major blocks
beats `torch.nn.functional.cross_entropy` by ten times for few classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Outputs = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]

BLOCK_ELEMENTS = 1 << 16
"""Logits that are worked on at once: 256 KiB, which stays in a core's second-level cache."""
ZERO = 2.0**-21
"""A target that is less than this share of their mean is a zero that was rounded to float32 on the way."""


def cross_entropy_and_hits(z_KNC: Outputs, y_N: Classes) -> tuple[Floats, Floats]:
    """Mean cross entropy, and share of examples whose largest logit (the first of equals) is the target's.

    Returns:
        Two arrays of shape (K,). Both are NaN for a trial with a NaN or +inf logit.
    """
    num_trials, num_examples, num_classes = z_KNC.shape
    loss_KN = np.empty((num_trials, num_examples))
    hit_KN = np.empty((num_trials, num_examples), dtype=bool)
    block = max(1, BLOCK_ELEMENTS // (num_examples * num_classes))
    with np.errstate(invalid="ignore"):
        for first in range(0, num_trials, block):
            rows = slice(first, first + block)
            loss_KN[rows], hit_KN[rows] = _cross_entropy_block(z_KNC[rows], y_N)
    loss_K = row_means(loss_KN)
    hit_K = np.count_nonzero(hit_KN, axis=1) / num_examples
    hit_K[np.isnan(loss_K)] = np.nan
    return loss_K, hit_K


def _cross_entropy_block(z_KNC: Outputs, y_N: Classes) -> tuple[Outputs, npt.NDArray[np.bool_]]:
    """Cross entropy and hit of each example, shapes (K, N)."""
    num_trials, num_examples, num_classes = z_KNC.shape
    # A copy with the examples of all trials side by side, so that each class is one long row.
    z_CM = np.array(z_KNC.transpose(2, 0, 1), order="C").reshape(num_classes, -1)
    y_M = np.tile(y_N, num_trials)
    z_CM -= z_CM.max(axis=0)
    target_M = z_CM[y_M, np.arange(len(y_M))]
    hit_M = target_M == 0.0
    if np.count_nonzero(z_CM == 0.0) > len(y_M):  # equal logits: the first class wins, as in argmax
        hit_M = z_CM.argmax(axis=0) == y_M
    np.exp(z_CM, out=z_CM)
    sum_M = z_CM[0].copy()
    for row_M in z_CM[1:]:
        sum_M += row_M
    loss_M = np.log(sum_M, out=sum_M)
    loss_M -= target_M
    return loss_M.reshape(num_trials, num_examples), hit_M.reshape(num_trials, num_examples)


def mean_squared_error(z_KNT: Outputs, y_NT: npt.NDArray[np.floating]) -> Floats:
    """Mean over examples and targets, shape (K,)."""
    return row_means(_squared_errors(z_KNT, y_NT).reshape(len(z_KNT), -1))


def root_mean_squared_error(z_KNT: Outputs, y_NT: npt.NDArray[np.floating], std_T: Floats) -> Floats:
    """Root of the mean squared error of each target in its own units, averaged over targets; shape (K,).

    Args:
        z_KNT: Predictions of standardised targets.
        y_NT: Standardised targets.
        std_T: Units of a target in one standardised unit.
    """
    mse_KT = row_means(_squared_errors(z_KNT, y_NT).swapaxes(1, 2))
    return row_means(np.sqrt(mse_KT) * std_T)


def _r_squared(z_KNT: Outputs, y_NT: npt.NDArray[np.floating]) -> Floats:
    """1 - squared error / squared error of the mean, averaged over targets; shape (K,).

    As in scikit-learn, a target that is constant counts 1 when it is met exactly and 0 when not, and a single
    example has no R2 (NaN).
    """
    if len(y_NT) < 2:
        return np.full(len(z_KNT), np.nan)
    y_NT = y_NT.astype(np.float64)
    total_T = ((y_NT - y_NT.mean(axis=0)) ** 2).mean(axis=0)
    residual_KT = row_means(_squared_errors(z_KNT, y_NT).swapaxes(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        score_KT = 1.0 - residual_KT / total_T
    constant_T = total_T == 0.0
    score_KT[:, constant_T] = np.where(residual_KT[:, constant_T] == 0.0, 1.0, 0.0)
    return row_means(score_KT)


def _squared_errors(z_KNT: Outputs, y_NT: npt.NDArray[np.floating]) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.square(z_KNT.astype(np.float64) - y_NT)


def row_means(x: Floats) -> Floats:
    """Means over the last axis of float64 values, each summed along a contiguous row."""
    with np.errstate(over="ignore", invalid="ignore"):
        means: Floats = np.add.reduce(np.ascontiguousarray(x), axis=-1) / x.shape[-1]
    return means


def balanced_accuracy(z_KNC: Outputs, y_N: Classes) -> Floats:
    """Mean recall over the classes that occur, shape (K,)."""
    hits_KC, _, support_C = _class_counts(z_KNC, y_N)
    occurs_C = support_C > 0
    return row_means(hits_KC[:, occurs_C] / support_C[occurs_C])


def f1(z_KNC: Outputs, y_N: Classes) -> Floats:
    """F1 of class 1 if there are two classes; else the mean over classes that occur or are predicted. Shape (K,)."""
    hits_KC, predicted_KC, support_C = _class_counts(z_KNC, y_N)
    either_KC = predicted_KC + support_C
    return _of_class_one_or_mean(2.0 * hits_KC / np.maximum(either_KC, 1), either_KC)


def _class_counts(z_KNC: Outputs, y_N: Classes) -> tuple[Classes, Classes, Classes]:
    """Right predictions (K, C), all predictions (K, C) and examples (C,) of each class."""
    num_trials, _, num_classes = z_KNC.shape
    predicted_KN = z_KNC.argmax(axis=-1)
    cell_KN = predicted_KN + num_classes * np.arange(num_trials)[:, None]
    shape, size = (num_trials, num_classes), num_trials * num_classes
    hits_KC = np.bincount(cell_KN[predicted_KN == y_N], minlength=size).reshape(shape)
    predicted_KC = np.bincount(cell_KN.ravel(), minlength=size).reshape(shape)
    return hits_KC, predicted_KC, np.bincount(y_N, minlength=num_classes)


def auroc(z_KNC: Outputs, y_N: Classes) -> Floats:
    """Area under the ROC curve: of class 1 if there are two, else one against the rest, averaged over classes.

    Classes with no example, or with all of them, have no curve and are left out; NaN if none is left. Shape (K,).
    """
    return np.array([_of_ranks(z_NC.astype(np.float64), y_N, area) for z_NC in z_KNC])


def _of_ranks(z_NC: Floats, y_N: Classes, measure: Callable[[Floats, npt.NDArray[np.bool_]], float]) -> float:
    """A measure of how a trial ranks examples: by class 1 if there are two, else each against the rest, averaged."""
    if not np.isfinite(z_NC).all():
        return float("nan")
    if z_NC.shape[1] == 2:
        return measure(z_NC[:, 1] - z_NC[:, 0], y_N == 1)
    z_NC = z_NC - z_NC.max(axis=1, keepdims=True)
    score_NC = z_NC - np.log(np.exp(z_NC).sum(axis=1, keepdims=True))
    found_C = np.array([measure(score_NC[:, c], y_N == c) for c in range(z_NC.shape[1])])
    return float(np.nanmean(found_C)) if not np.isnan(found_C).all() else float("nan")


def area(score_N: Floats, positive_N: npt.NDArray[np.bool_]) -> float:
    """How often a positive example scores above a negative one; a tie counts half (Mann and Whitney's U)."""
    positives, negatives = score_N[positive_N], np.sort(score_N[~positive_N])
    if not len(positives) or not len(negatives):
        return float("nan")
    below = np.searchsorted(negatives, positives, side="left")
    not_above = np.searchsorted(negatives, positives, side="right")
    return float((below + not_above).sum()) / (2.0 * len(positives) * len(negatives))


def precision(z_KNC: Outputs, y_N: Classes) -> Floats:
    """The share of right ones among predictions of class 1 if there are two; else the mean over classes, as of `f1`."""
    hits_KC, predicted_KC, support_C = _class_counts(z_KNC, y_N)
    return _of_class_one_or_mean(hits_KC / np.maximum(predicted_KC, 1), predicted_KC + support_C)


def recall(z_KNC: Outputs, y_N: Classes) -> Floats:
    """The share of class 1's examples that are found if there are two; else the mean over classes, as of `f1`."""
    hits_KC, predicted_KC, support_C = _class_counts(z_KNC, y_N)
    return _of_class_one_or_mean(hits_KC / np.maximum(support_C, 1), predicted_KC + support_C)


def _of_class_one_or_mean(score_KC: Floats, either_KC: Classes) -> Floats:
    if score_KC.shape[1] == 2:
        return np.ascontiguousarray(score_KC[:, 1])
    return np.array([row_means(score[either > 0]) for score, either in zip(score_KC, either_KC, strict=True)])


def quadratic_kappa(z_KNC: Outputs, y_N: Classes) -> Floats:
    """Cohen's kappa of ordered classes, a mistake weighed by the square of its distance (Cohen 1968); shape (K,)."""
    classes = np.arange(z_KNC.shape[-1])
    weight_CC = np.square(classes[:, None] - classes).astype(np.float64)
    support_C = np.bincount(y_N, minlength=len(classes))
    found = []
    for predicted_N in z_KNC.argmax(axis=-1):
        seen_CC = np.bincount(len(classes) * y_N + predicted_N, minlength=weight_CC.size).reshape(weight_CC.shape)
        by_chance_CC = np.outer(support_C, np.bincount(predicted_N, minlength=len(classes))) / len(y_N)
        expected = (weight_CC * by_chance_CC).sum()
        found.append(1.0 - (weight_CC * seen_CC).sum() / expected if expected else np.nan)
    return np.array(found)


def top5_accuracy(z_KNC: Outputs, y_N: Classes) -> Floats:
    """Share of examples whose class has one of the five largest logits, shape (K,)."""
    own_KN1 = z_KNC[:, np.arange(len(y_N)), y_N, None]
    return row_means(((z_KNC > own_KN1).sum(axis=-1) < 5).astype(np.float64))


def _brier_score(z_KNC: Outputs, y_N: Classes) -> Floats:
    """Mean squared error of the probabilities (Brier 1950): of class 1 if there are two, else summed over classes."""
    return np.array([row_means(_squared_of_shares(z_NC.astype(np.float64), y_N)) for z_NC in z_KNC])


def _squared_of_shares(z_NC: Floats, y_N: Classes) -> Floats:
    with np.errstate(invalid="ignore", over="ignore"):
        share_NC = np.exp(z_NC - z_NC.max(axis=1, keepdims=True))
        share_NC /= share_NC.sum(axis=1, keepdims=True)
        share_NC[np.arange(len(y_N)), y_N] -= 1.0
        squared_NC = np.square(share_NC)
    squared_N: Floats = squared_NC[:, 1] if z_NC.shape[1] == 2 else squared_NC.sum(axis=1)
    return squared_N


def average_precision(z_KNC: Outputs, y_N: Classes) -> Floats:
    """Precision averaged over the examples of class 1, best first; of more classes one against the rest, averaged.

    Classes without an example are left out. Shape (K,).
    """
    return np.array([_of_ranks(z_NC.astype(np.float64), y_N, _average_precision) for z_NC in z_KNC])


def _average_precision(score_N: Floats, positive_N: npt.NDArray[np.bool_]) -> float:
    if not positive_N.any():
        return float("nan")
    order = np.argsort(-score_N, kind="stable")
    last_of_ties = np.append(np.diff(score_N[order]) != 0, True)
    found = np.cumsum(positive_N[order])[last_of_ties]
    of = np.flatnonzero(last_of_ties) + 1
    return float((np.diff(found, prepend=0) * found / of).sum() / found[-1])


def mean_absolute_error(z_KNT: Outputs, y_NT: npt.NDArray[np.floating], std_T: Floats) -> Floats:
    """Of each target in its own units, averaged over targets; arguments and shape as of `root_mean_squared_error`."""
    with np.errstate(over="ignore", invalid="ignore"):
        error_KNT = np.abs(z_KNT.astype(np.float64) - y_NT)
    return row_means(row_means(error_KNT.swapaxes(1, 2)) * std_T)


def mean_absolute_percentage_error(
    z_KNT: Outputs, y_NT: npt.NDArray[np.floating], std_T: Floats, mean_T: Floats
) -> Floats:
    """The mean of |error / target| as a share, averaged over targets; shape (K,).

    Where a target is zero (up to what rounding leaves of it) there is no such share, and the example is left out.

    Args:
        z_KNT: Predictions of standardised targets.
        y_NT: Standardised targets.
        std_T: Units of a target in one standardised unit.
        mean_T: What a standardised target of 0 is.
    """
    size_NT = np.abs(y_NT.astype(np.float64) * std_T + mean_T)
    size_NT[size_NT <= ZERO * np.abs(mean_T)] = np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        error_KNT = np.abs(z_KNT.astype(np.float64) - y_NT) * std_T / size_NT
    is_known_NT = ~np.isnan(size_NT)
    each = [
        row_means(np.ascontiguousarray(error_KNT[:, known, t])) for t, known in enumerate(is_known_NT.T) if known.any()
    ]
    return np.full(len(z_KNT), np.nan) if not each else row_means(np.stack(each, axis=1))


METRICS: dict[str, Callable[[Outputs, npt.NDArray[Any]], Floats]] = {
    "balanced_accuracy": balanced_accuracy,
    "f1": f1,
    "precision": precision,
    "recall": recall,
    "auroc": auroc,
    "average_precision": average_precision,
    "quadratic_kappa": quadratic_kappa,
    "top5_accuracy": top5_accuracy,
    "brier": _brier_score,
    "r2": _r_squared,
}
"""Of classes and of numbers; the accuracy comes with the loss."""
METRICS_IN_UNITS: dict[str, Callable[..., Floats]] = {"rmse": root_mean_squared_error, "mae": mean_absolute_error}
"""Those that take `std_T`, the targets' units, besides."""
METRICS_OF_VALUES: dict[str, Callable[..., Floats]] = {"mape": mean_absolute_percentage_error}
"""Those that take `std_T` and `mean_T`, what the targets are, besides."""
