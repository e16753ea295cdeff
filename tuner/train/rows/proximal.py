"""L1 that selects: a step behind the optimiser's makes weights zero, where a gradient only swings them about it.

With plain gradient descent it is ISTA (Daubechies et al. 2004; Beck and Teboulle 2009). With momentum, weights are
pulled as far as a constant gradient of the size of `l1` would move them in the long run, rate / (1 - beta), so that
where a weight comes to rest depends on `l1` alone. With Adam and its kin the pull is the rate's, not divided by the
root of the second moment: decoupled, as AdamW decouples L2 (arXiv 1711.05101); to precondition it too is ProxGen
(arXiv 2007.07484).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tuner.models.layers.layer import is_weight
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.train.settings import Settings


def thresholds(settings: Settings, rate_S: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far weights are pulled towards zero in each step of one trial; 0 where L1 is in the gradient.

    Args:
        settings: Of the trial.
        rate_S: The learning rate of each step, times `rate_shares`.
    """
    if not settings.selects:
        return np.zeros(len(rate_S))
    has_momentum = HYPERPARAMETERS["momentum"].serves(settings.optimizer)
    return np.asarray(settings.l1 * rate_S / (1.0 - settings.momentum if has_momentum else 1.0))


def pull_to_zero(weights: Tensor, threshold: Tensor) -> None:
    """The soft threshold, in place: what is nearer to zero than the threshold is zero."""
    weights.sub_(torch.clamp(weights, -threshold, threshold))


@torch.no_grad()
def pull_module(module: nn.Module, threshold: float, shares: Mapping[str, float]) -> None:
    """The same for the trained weights of a plain module, at each one's share of the threshold."""
    for name, weight in module.named_parameters():
        if is_weight(weight.shape) and weight.requires_grad:
            pull_to_zero(weight, torch.full((), threshold * shares[name], device=weight.device))
