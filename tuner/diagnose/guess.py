"""The error of a network that looks at no input: what any training has to beat before its error says anything."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def guess_error(metric: str, targets: NDArray[Any]) -> float | None:
    """The least dev error of one answer for all examples, the same as `error_parts.error_of` has it.

    Args:
        metric: The objective's metric.
        targets: Of the dev examples: classes, shape (examples,), or numbers, shape (examples, outputs).

    Returns:
        None for a metric or targets of which it is not known here.
    """
    is_classes = targets.ndim == 1 and targets.dtype.kind in "iu"
    if is_classes and len(targets):
        shares = np.unique(targets, return_counts=True)[1] / len(targets)
        known = {
            "accuracy": 1.0 - float(shares.max()),
            "balanced_accuracy": 1.0 - 1.0 / len(shares),
            "auroc": 0.5,
            "loss": float(-(shares * np.log(shares)).sum()),
        }
        return known.get(metric)
    if targets.dtype.kind == "f" and len(targets):
        numbers = targets.reshape(len(targets), -1).astype(np.float64)
        known = {
            "rmse": float(np.sqrt(numbers.var(axis=0).mean())),
            "mae": float(np.abs(numbers - np.median(numbers, axis=0)).mean()),
            "mape": _least_percentage_error(numbers),
            "r2": 1.0,
        }
        return known.get(metric)
    return None


def _least_percentage_error(targets: NDArray[np.float64]) -> float:
    """That of the median of the targets, each weighed by the inverse of its size; zeros are left out.

    Args:
        targets: Shape (examples, outputs).
    """
    found = []
    for column in targets.T:
        ordered = np.sort(column[column != 0])
        if len(ordered):
            weights = np.cumsum(1 / np.abs(ordered))
            middle = ordered[np.searchsorted(weights, weights[-1] / 2)]
            found.append(np.abs((ordered - middle) / ordered).mean())
    return float(np.mean(found)) if found else 0.0
