"""The optimiser of one trial's plain module."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from tuner.models.layers.layer import is_weight
from tuner.train.rows.optimizers import ROW_OPTIMIZERS
from tuner.train.rows.penalties import penalties
from tuner.train.settings import Settings


def rate_shares(settings: Settings, count_S: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The share of the learning rate that the optimiser's group has at each update; 1 of the user's own."""
    known = ROW_OPTIMIZERS.get(settings.optimizer)
    return np.ones(len(count_S)) if known is None else known.rate_shares(settings, count_S)


def make_optimizer(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """The `torch.optim` optimiser of these settings; weight decay on weights only, not on biases and norms."""
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    own = penalties(settings, "weight_decay", {name: p.shape for name, p in module.named_parameters()})
    weights, others = [{n: p for n, p in trained.items() if is_weight(p.shape) is kind} for kind in (True, False)]
    groups = [
        {"params": [p for n, p in weights.items() if own[n] == value], "weight_decay": value}
        for value in dict.fromkeys(own[n] for n in weights)
    ]
    groups.append({"params": [*others.values()], "weight_decay": 0.0})
    if not settings.weight_decay:  # one group takes less of a step than two
        groups = [{"params": [*weights.values(), *others.values()], "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    return ROW_OPTIMIZERS[settings.optimizer].of_module(groups, settings)
