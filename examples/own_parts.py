"""A loss, a metric and an optimiser of one's own. See sweeps/own_parts.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import nn

from tuner.records import ParamValue


def focal_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy that turns to the hard examples (arXiv 1708.02002); logits have shape (batch, classes)."""
    log_shares = torch.log_softmax(outputs, dim=1).gather(1, targets.unsqueeze(1))
    return -((1 - log_shares.exp()) ** 2 * log_shares).mean()


def dice_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """One less Dice's overlap of shares and labels, the mean over classes (arXiv 1606.04797): rare ones count alike."""
    shares = torch.softmax(outputs, dim=1)
    labels = nn.functional.one_hot(targets, shares.shape[1])
    overlap, sizes = (shares * labels).sum(dim=0), shares.sum(dim=0) + labels.sum(dim=0)
    return 1 - ((2 * overlap + 1) / (sizes + 1)).mean()


def top_two(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """The share of examples whose class is one of the two likeliest."""
    return float((outputs.topk(2, dim=1).indices == targets.unsqueeze(1)).any(dim=1).float().mean())


def radam(parameters: Iterable[nn.Parameter], params: Mapping[str, ParamValue]) -> torch.optim.Optimizer:
    """Adam with a warm-up of its own (arXiv 1908.03265); the trial's hyperparameters come by their names."""
    return torch.optim.RAdam(parameters, lr=float(params["learning_rate"]), weight_decay=float(params["weight_decay"]))
