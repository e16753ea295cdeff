"""Losses of plain modules, with the meaning that the stacked program's hand-written gradients have."""

from __future__ import annotations

import torch
from torch import Tensor


def mean_loss(outputs: Tensor, targets: Tensor, *, loss: str) -> Tensor:
    """The mean loss of a batch, a scalar.

    Args:
        outputs: (B, outputs).
        targets: (B,) int64 for `cross_entropy`, (B, outputs) float32 for `mse`.
        loss: Which of the two.
    """
    if loss == "cross_entropy":
        return torch.nn.functional.cross_entropy(outputs, targets)
    return torch.nn.functional.mse_loss(outputs, targets.view(outputs.shape))
