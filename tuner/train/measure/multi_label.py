"""Losses and metrics of a cohort's logits for labels, of which an example may have any number.

K trials, N examples, L labels. As in `scoring.py`, a trial's value is bit-equal whoever its neighbours are. A label
is given where its logit is above 0, a probability above one half.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from tuner.train.measure.scoring import Floats, Outputs, area, row_means

_Labels = npt.NDArray[np.floating]


def binary_cross_entropy(z_KNL: Outputs, y_NL: _Labels) -> Floats:
    """Mean over examples and labels, shape (K,); NaN for a trial with a NaN or infinite logit."""
    z = z_KNL.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        each = np.maximum(z, 0.0) - z * y_NL + np.log1p(np.exp(-np.abs(z)))
    return row_means(each.reshape(len(z), -1))


def f1(z_KNL: Outputs, y_NL: _Labels) -> Floats:
    """F1 of each label, averaged over the labels that occur or are given; shape (K,)."""
    both_KL, either_KL = _counts(z_KNL, y_NL)
    score_KL = 2.0 * both_KL / np.maximum(either_KL, 1)
    return np.array(
        [row_means(s[e > 0]) if e.any() else np.float64(0.0) for s, e in zip(score_KL, either_KL, strict=True)]
    )


def micro_f1(z_KNL: Outputs, y_NL: _Labels) -> Floats:
    """F1 of all labels of all examples counted together, shape (K,)."""
    both_KL, either_KL = _counts(z_KNL, y_NL)
    score_K: Floats = 2.0 * both_KL.sum(axis=1) / np.maximum(either_KL.sum(axis=1), 1)
    return score_K


def _counts(z_KNL: Outputs, y_NL: _Labels) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """For each label: examples that have it and are given it; and how often it is had, plus how often it is given."""
    given, true = z_KNL > 0, y_NL > 0.5
    return (given & true).sum(axis=1), given.sum(axis=1) + true.sum(axis=0)


def subset_accuracy(z_KNL: Outputs, y_NL: _Labels) -> Floats:
    """Share of examples of which every label is right, shape (K,)."""
    right_KN = ((z_KNL > 0) == (y_NL > 0.5)).all(axis=2)
    share_K: Floats = np.count_nonzero(right_KN, axis=1) / len(y_NL)
    return share_K


def auroc(z_KNL: Outputs, y_NL: _Labels) -> Floats:
    """Area under the ROC curve of each label, averaged over those that have examples of both kinds; shape (K,)."""
    return np.array([_auroc_of_trial(z_NL.astype(np.float64), y_NL > 0.5) for z_NL in z_KNL])


def _auroc_of_trial(z_NL: Floats, true_NL: npt.NDArray[np.bool_]) -> float:
    if not np.isfinite(z_NL).all():
        return float("nan")
    areas = np.array([area(z, true) for z, true in zip(z_NL.T, true_NL.T, strict=True)])
    return float(np.nanmean(areas)) if not np.isnan(areas).all() else float("nan")


METRICS: dict[str, Callable[[Outputs, _Labels], Floats]] = {
    "f1": f1,
    "micro_f1": micro_f1,
    "auroc": auroc,
    "subset_accuracy": subset_accuracy,
}
