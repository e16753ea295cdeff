"""The gradient of the mean loss of each trial's batch with respect to its outputs, recorded on a tape."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from tuner.models.layers.tape import Tape


def record_loss_gradient(
    tape: Tape, z_KBO: Tensor, y_KBO: Tensor, *, loss: str, num_targets: int, weighted: bool
) -> None:
    """Record, as the end of the forward pass, the gradient of the loss into the gradient buffer of the outputs.

    Args:
        tape: Of the training step.
        z_KBO: Logits or predictions (mse); outputs that rounding added get no gradient.
        y_KBO: One-hot classes, labels or targets, refilled for each step.
        loss: `cross_entropy` (softmax minus one-hot, over the batch), `binary_cross_entropy` or `mse` (means over
            batch and targets).
        num_targets: Outputs that are not added by rounding.
        weighted: The classes in `y_KBO` are scaled by weights, so that they do not add up to 1 (cross entropy).
    """
    dz_KBO = tape.memory.gradient(z_KBO)
    if loss == "cross_entropy":
        tape.forward.append(partial(torch.softmax, z_KBO, -1, out=dz_KBO))
        if weighted:
            weight_KB1 = tape.memory.buffer(*y_KBO.shape[:-1], 1)
            tape.forward += [
                partial(torch.sum, y_KBO, -1, keepdim=True, out=weight_KB1),
                partial(dz_KBO.mul_, weight_KB1),
            ]
        tape.forward += [partial(dz_KBO.sub_, y_KBO), partial(dz_KBO.mul_, 1.0 / z_KBO.shape[1])]
    elif loss == "binary_cross_entropy":
        tape.forward += [
            partial(
                torch.sigmoid, tape.memory.flat(z_KBO), out=tape.memory.flat(dz_KBO)
            ),  # whose scalar version rounds otherwise
            partial(dz_KBO.sub_, y_KBO),
            partial(dz_KBO.mul_, 1.0 / (z_KBO.shape[1] * num_targets)),
        ]
    else:
        tape.forward += [
            partial(torch.sub, z_KBO, y_KBO, out=dz_KBO),
            partial(dz_KBO.mul_, 2.0 / (z_KBO.shape[1] * num_targets)),
        ]
