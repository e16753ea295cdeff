"""Losses of plain modules, with the meaning that the stacked program's hand-written gradients have."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_loss(outputs: Tensor, targets: Tensor, *, loss: str) -> Tensor:
    """The mean loss of a batch, a scalar.

    Args:
        outputs: (B, outputs).
        targets: (B,) int64 for `cross_entropy`, or (B, outputs) float32 where labels are soft or weighted; (B, outputs)
            float32 for `binary_cross_entropy` and `mse`.
        loss: Which of the three.
    """
    if loss == "cross_entropy" and targets.is_floating_point():
        return _soft_cross_entropy(outputs, targets) / len(outputs)
    if loss == "cross_entropy":
        return torch.nn.functional.cross_entropy(outputs, targets)
    if loss == "binary_cross_entropy":
        return _sum_of_label_losses(outputs, targets) / outputs.numel()
    return torch.nn.functional.mse_loss(outputs, targets.view(outputs.shape))


def sum_of_mean_losses(outputs: Tensor, targets: Tensor, *, loss: str) -> Tensor:
    """The sum of each trial's mean loss: its gradient is, for every trial, that of its own mean loss, bit for bit.

    Args:
        outputs: (K, B, outputs).
        targets: (K, B), or (K, B, outputs) for `mse` and soft labels.
        loss: As in `mean_loss`.
    """
    if loss == "cross_entropy" and targets.is_floating_point():
        return _soft_cross_entropy(outputs, targets) / outputs.shape[1]
    if loss == "cross_entropy":
        total = torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="sum")
        return total / outputs.shape[1]
    if loss == "binary_cross_entropy":
        total = _sum_of_label_losses(outputs, targets)
    else:
        total = torch.nn.functional.mse_loss(outputs, targets.view(outputs.shape), reduction="sum")
    return total / outputs[0].numel()


def _sum_of_label_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """The sum over examples and labels: each label as two classes, of which one has a logit of zero.

    The library's function has other last bits where a tensor's size is no multiple of the vector length.
    """
    pairs = torch.stack([torch.zeros_like(outputs), outputs], dim=-1)
    targets = targets.view(outputs.shape)
    return _soft_cross_entropy(pairs, torch.stack([1.0 - targets, targets], dim=-1))


def _soft_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """The sum over examples, with a probability for each class as targets, perhaps times a weight."""
    return -(torch.log_softmax(outputs, dim=-1) * targets).sum()
