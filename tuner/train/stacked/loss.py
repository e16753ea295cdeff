"""The gradient of the mean loss of each trial's batch with respect to its outputs, recorded on a tape."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from tuner.train.stacked.layers import Gradients
from tuner.train.stacked.tape import Tape


def emit_loss_gradient(
    tape: Tape, grads: Gradients, z_KBO: Tensor, y_KBO: Tensor, *, loss: str, num_targets: int
) -> None:
    """Record, as the end of the forward pass, the gradient of the loss into the gradient buffer of the outputs.

    Args:
        tape: Of the training step.
        grads: The tape's gradient buffers.
        z_KBO: Logits (cross entropy) or predictions (mse); outputs that rounding added get no gradient.
        y_KBO: One-hot classes or targets, refilled for each step.
        loss: `cross_entropy` (softmax minus one-hot, over the batch) or `mse` (mean over batch and targets).
        num_targets: Outputs that are not added by rounding.
    """
    dz_KBO = grads.of(z_KBO)
    if loss == "cross_entropy":
        tape.forward += [
            partial(torch.softmax, z_KBO, -1, out=dz_KBO),
            partial(dz_KBO.sub_, y_KBO),
            partial(dz_KBO.mul_, 1.0 / z_KBO.shape[1]),
        ]
    else:
        tape.forward += [
            partial(torch.sub, z_KBO, y_KBO, out=dz_KBO),
            partial(dz_KBO.mul_, 2.0 / (z_KBO.shape[1] * num_targets)),
        ]
