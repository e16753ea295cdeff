"""The optimisers of `torch.optim` for plain modules."""

from __future__ import annotations

import torch
from torch import nn

from tuner.models.layers import is_weight
from tuner.train.programs.lion import Lion
from tuner.train.settings import Settings


def make_optimizer(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """The `torch.optim` optimiser of these settings; weight decay on weights only, not on biases and norms."""
    trained = [p for p in module.parameters() if p.requires_grad]
    weights, others = [[p for p in trained if is_weight(p.shape) is kind] for kind in (True, False)]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if not settings.weight_decay:  # one group takes less of a step than two
        groups = [{"params": [*weights, *others], "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    rate = settings.learning_rate
    betas = (settings.beta1, settings.beta2)
    match settings.optimizer:
        case "adam":
            return torch.optim.Adam(groups, lr=rate, betas=betas)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, betas=betas)
        case "amsgrad":
            return torch.optim.Adam(groups, lr=rate, betas=betas, amsgrad=True)
        case "nadam":
            return torch.optim.NAdam(groups, lr=rate, betas=betas)
        case "lion":
            return Lion(groups, lr=rate, betas=betas)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, alpha=settings.beta2, momentum=settings.momentum)
        case _:
            nesterov = settings.nesterov and settings.momentum > 0  # torch refuses what makes no difference
            return torch.optim.SGD(groups, lr=rate, momentum=settings.momentum, nesterov=nesterov)
