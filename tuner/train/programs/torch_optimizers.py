"""The optimiser of one trial's plain module."""

from __future__ import annotations

import torch
from torch import nn

from tuner.models.layers import is_weight
from tuner.train.rows.optimizers import ROW_OPTIMIZERS
from tuner.train.settings import Settings


def make_optimizer(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """The `torch.optim` optimiser of these settings; weight decay on weights only, not on biases and norms."""
    trained = [p for p in module.parameters() if p.requires_grad]
    weights, others = [[p for p in trained if is_weight(p.shape) is kind] for kind in (True, False)]
    groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if not settings.weight_decay:  # one group takes less of a step than two
        groups = [{"params": [*weights, *others], "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    return ROW_OPTIMIZERS[settings.optimizer].of_module(groups, settings)
