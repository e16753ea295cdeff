"""Averages of gradients as Ng has them: damped by (1 - beta), with or without a correction of their start."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from tuner.train.settings import Settings

_FOREVER = 1e15
"""Updates after which there is nothing left of an average's start: beta ** t is 0 for any beta below 1 in float32."""


def shares_rate(settings: Settings) -> bool:
    """Whether any share of the learning rate is other than 1."""
    return settings.momentum != 0.0 and (settings.corrects_bias or settings.dampening != 0.0)


def rate_shares(settings: Settings, count_S: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """What dampening and bias correction make of the learning rate at each update; 1 without momentum.

    v = beta v + (1 - d) g, from v = 0, is (1 - d) times what it is without dampening, and its correction is a division
    by 1 - beta ** t. Both are factors of the step, so they stand at the rate, and momentum itself stays what it is.

    Args:
        settings: Of one trial.
        count_S: The number of its updates with each one.
    """
    if not shares_rate(settings):
        return np.ones(len(count_S))
    beta = settings.momentum
    weights_S = 1.0 - beta**count_S if settings.corrects_bias else np.ones(len(count_S))
    return np.asarray((1.0 - settings.dampening) / weights_S)


def adam(
    kind: type[torch.optim.Adam], groups: list[dict[str, Any]], settings: Settings, *, amsgrad: bool = False
) -> torch.optim.Optimizer:
    """An Adam of `torch.optim`, which always corrects its averages; so as not to, it counts from far on."""
    made = kind(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.epsilon, amsgrad=amsgrad)
    if not settings.corrects_bias:
        names = ("exp_avg", "exp_avg_sq", *(("max_exp_avg_sq",) if amsgrad else ()))
        for parameter in (p for group in made.param_groups for p in group["params"]):
            zeros = {name: torch.zeros_like(parameter, memory_format=torch.preserve_format) for name in names}
            made.state[parameter] = {"step": torch.tensor(_FOREVER), **zeros}
    return made
