"""Losses and metrics of a cohort's outputs on a GPU: those of `train.measure.scoring` and `train.measure.multi_label`.

K trials, N examples, C classes, labels or targets. Sums are in float64 and counts exact, so that values are those of
the host but for the last digits; only two numbers of each trial come back, and the host waits once. A metric without a
function here is computed on the host, from outputs that are brought there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax, pad

BLOCK_ELEMENTS = 2**24
"""Scores that are ranked at once: each takes some tens of bytes on the way."""


@torch.no_grad()
def scores(z_KNC: Tensor, y: Tensor, *, loss: str, metric: str, target_std: Tensor) -> Tensor | None:
    """Loss and metric of each trial, float64 of shape (2, K), on the device; None for a metric unknown here.

    Args:
        z_KNC: Logits or predictions, float32.
        y: Classes (N,), labels or standardised targets (N, C).
        loss: What networks are trained on.
        metric: What they are compared by.
        target_std: Units of a target in one standardised unit, float64, on the device; for regression.
    """
    measure = (_OF_LABELS if loss == "binary_cross_entropy" else _OF_OTHERS).get(metric)
    if measure is None and metric not in ("loss", "rmse"):
        return None
    loss_K = _LOSSES[loss](z_KNC, y)
    if metric == "loss":
        return torch.stack([loss_K, loss_K])
    found = _rmse(z_KNC, y, target_std) if measure is None else measure(z_KNC, y)
    return torch.stack([loss_K, torch.where(loss_K.isnan(), torch.nan, found)])


# Losses


def _cross_entropy(z_KNC: Tensor, y_N: Tensor) -> Tensor:
    index = y_N.expand(z_KNC.shape[:2]).unsqueeze(-1)
    return -log_softmax(z_KNC, dim=-1).gather(-1, index).squeeze(-1).double().mean(dim=1)


def _binary_cross_entropy(z_KNL: Tensor, y_NL: Tensor) -> Tensor:
    each = binary_cross_entropy_with_logits(z_KNL.double(), y_NL.double().expand(z_KNL.shape), reduction="none")
    # As on the host, a logit that is no number, or endless, leaves no loss.
    return torch.where(z_KNL.isfinite().all(dim=(1, 2)), each.mean(dim=(1, 2)), torch.nan)


def _squared_errors(z_KNT: Tensor, y_NT: Tensor) -> Tensor:
    return (z_KNT.double() - y_NT.double()).square()


def _mean_squared_error(z_KNT: Tensor, y_NT: Tensor) -> Tensor:
    return _squared_errors(z_KNT, y_NT).mean(dim=(1, 2))


# Metrics of classes and of targets


def _predicted(z_KNC: Tensor) -> Tensor:
    """The class with the largest logit, the first of equals, which `argmax` does not promise on a GPU."""
    largest = z_KNC == z_KNC.amax(dim=-1, keepdim=True)
    numbers = torch.arange(z_KNC.shape[-1], device=z_KNC.device)
    return torch.where(largest, numbers, len(numbers) - 1).amin(dim=-1)


def _accuracy(z_KNC: Tensor, y_N: Tensor) -> Tensor:
    return (_predicted(z_KNC) == y_N).sum(dim=1).double() / len(y_N)


def _class_counts(z_KNC: Tensor, y_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Right predictions (K, C), all predictions (K, C) and examples (C,) of each class."""
    num_trials, _, num_classes = z_KNC.shape
    predicted_KN = _predicted(z_KNC)
    none_KC = torch.zeros(num_trials, num_classes, dtype=torch.int64, device=z_KNC.device)
    hits_KC = none_KC.scatter_add(1, predicted_KN, (predicted_KN == y_N).long())
    predicted_KC = none_KC.scatter_add(1, predicted_KN, torch.ones_like(predicted_KN))
    return hits_KC, predicted_KC, none_KC[0].scatter_add(0, y_N, torch.ones_like(y_N))


def _mean_where(value: Tensor, counts: Tensor) -> Tensor:
    """Means over the last axis of what counts."""
    return torch.where(counts, value, 0.0).sum(dim=-1) / counts.sum(dim=-1)


def _balanced_accuracy(z_KNC: Tensor, y_N: Tensor) -> Tensor:
    hits_KC, _, support_C = _class_counts(z_KNC, y_N)
    return _mean_where(hits_KC.double() / support_C, support_C > 0)


def _f1(z_KNC: Tensor, y_N: Tensor) -> Tensor:
    hits_KC, predicted_KC, support_C = _class_counts(z_KNC, y_N)
    either_KC = predicted_KC + support_C
    score_KC = 2.0 * hits_KC.double() / either_KC.clamp_min(1)
    return score_KC[:, 1] if score_KC.shape[1] == 2 else _mean_where(score_KC, either_KC > 0)


def _auroc(z_KNC: Tensor, y_N: Tensor) -> Tensor:
    num_classes = z_KNC.shape[2]
    if num_classes == 2:
        z = z_KNC.double()
        return _mean_area((z[:, :, 1] - z[:, :, 0]).unsqueeze(1), (y_N == 1).unsqueeze(0))
    true_CN = y_N == torch.arange(num_classes, device=y_N.device).unsqueeze(1)
    return _by_trials(lambda z_kNC: _mean_area(log_softmax(z_kNC.double(), dim=-1).transpose(1, 2), true_CN), z_KNC)


def _rmse(z_KNT: Tensor, y_NT: Tensor, std_T: Tensor) -> Tensor:
    return (_squared_errors(z_KNT, y_NT).mean(dim=1).sqrt() * std_T).mean(dim=1)


def _r_squared(z_KNT: Tensor, y_NT: Tensor) -> Tensor:
    y = y_NT.double()
    total_T = (y - y.mean(dim=0)).square().mean(dim=0)
    residual_KT = _squared_errors(z_KNT, y_NT).mean(dim=1)
    constant_KT = torch.where(residual_KT == 0.0, 1.0, 0.0).double()
    score_KT = torch.where(total_T == 0.0, constant_KT, 1.0 - residual_KT / total_T)
    return score_KT.mean(dim=1) if len(y) > 1 else torch.full_like(score_KT[:, 0], torch.nan)


# Metrics of labels


def _label_counts(z_KNL: Tensor, y_NL: Tensor) -> tuple[Tensor, Tensor]:
    given, true = z_KNL > 0, y_NL > 0.5
    return (given & true).sum(dim=1), given.sum(dim=1) + true.sum(dim=0)


def _f1_of_labels(z_KNL: Tensor, y_NL: Tensor) -> Tensor:
    both_KL, either_KL = _label_counts(z_KNL, y_NL)
    score_KL = 2.0 * both_KL.double() / either_KL.clamp_min(1)
    return _mean_where(score_KL, either_KL > 0).nan_to_num(nan=0.0)


def _micro_f1(z_KNL: Tensor, y_NL: Tensor) -> Tensor:
    both_KL, either_KL = _label_counts(z_KNL, y_NL)
    return 2.0 * both_KL.sum(dim=1).double() / either_KL.sum(dim=1).clamp_min(1)


def _subset_accuracy(z_KNL: Tensor, y_NL: Tensor) -> Tensor:
    return ((z_KNL > 0) == (y_NL > 0.5)).all(dim=2).sum(dim=1).double() / len(y_NL)


def _auroc_of_labels(z_KNL: Tensor, y_NL: Tensor) -> Tensor:
    true_LN = (y_NL > 0.5).T
    return _by_trials(lambda z_kNL: _mean_area(z_kNL.double().transpose(1, 2), true_LN), z_KNL)


# Ranks


def _by_trials(measure: Callable[[Tensor], Tensor], z_KNC: Tensor) -> Tensor:
    """What is measured of as many trials at a time as memory should hold."""
    size = max(1, BLOCK_ELEMENTS // z_KNC[0].numel())
    return torch.cat([measure(block) for block in torch.split(z_KNC, size)])


def _mean_area(score_KCN: Tensor, true_CN: Tensor) -> Tensor:
    """The area under each class's ROC curve, averaged over those that have one; NaN if none has, or a score is none."""
    rows_RN = score_KCN.reshape(-1, score_KCN.shape[2]).contiguous()
    area_KC = _areas(rows_RN, true_CN.repeat(len(score_KCN), 1)).view(score_KCN.shape[:2])
    return torch.where(score_KCN.isfinite().all(dim=2).all(dim=1), area_KC.nanmean(dim=1), torch.nan)


def _areas(score_RN: Tensor, positive_RN: Tensor) -> Tensor:
    """How often a positive example scores above a negative one; a tie counts half. NaN where one kind is missing."""
    ordered_RN, place_RN = score_RN.sort(dim=1)
    positive_RN = positive_RN.gather(1, place_RN)
    negatives_RM = pad((~positive_RN).cumsum(dim=1), (1, 0))
    """Among the first so many."""
    below = negatives_RM.gather(1, torch.searchsorted(ordered_RN, ordered_RN))
    not_above = negatives_RM.gather(1, torch.searchsorted(ordered_RN, ordered_RN, right=True))
    wins_R = torch.where(positive_RN, below + not_above, 0).sum(dim=1)
    num_positives, num_negatives = positive_RN.sum(dim=1), negatives_RM[:, -1]
    return wins_R.double() / (2.0 * num_positives.double() * num_negatives.double())  # 0 / 0 is NaN


_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
    "mse": _mean_squared_error,
}
_OF_OTHERS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "f1": _f1,
    "auroc": _auroc,
    "r2": _r_squared,
}
_OF_LABELS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "f1": _f1_of_labels,
    "micro_f1": _micro_f1,
    "auroc": _auroc_of_labels,
    "subset_accuracy": _subset_accuracy,
}
