"""Layer norm, residual branches and global averages, recorded on a tape as in `stacked.layers`.

Shapes: K trials, B examples of a batch, F features, C channels, H height, W width.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from tuner.models.layers import NORM_EPS, rounded_width
from tuner.train.programs.stacked.layers import Gradients, Weights
from tuner.train.programs.stacked.tape import Tape


def emit_layer_norm(tape: Tape, grads: Gradients, x: Tensor, weights: Weights, unit_mask: Tensor) -> Tensor:
    """Zero mean and unit variance over the features of each example, then a scale and a shift.

    Args:
        tape: Where to record.
        grads: The tape's gradient buffers.
        x: (K, B, F), zero in the features that rounding added; or (K, B, C, H, W).
        weights: Scale and shift, (K, F) or (K, C).
        unit_mask: (K, 1, F), 1 for a trial's own features: the others count in no mean. Without axes for images.
    """
    spatial = x.dim() == 5
    over = (2, 3, 4) if spatial else (2,)
    over_batch = (1, 3, 4) if spatial else (1,)
    shape = (tape.num_trials, 1, x.shape[2]) + ((1, 1) if spatial else ())
    if spatial:
        share: Tensor = torch.tensor(1.0 / x[0, 0].numel(), device=tape.device)
    else:
        share = 1.0 / unit_mask.sum(dim=2, keepdim=True)
    y, xhat, product = (tape.memory.buffer(*x.shape) for _ in range(3))
    mean, inverse = (torch.zeros(*x.shape[:2], *(1 for _ in over), device=tape.device) for _ in range(2))
    gamma, beta = weights.weight.view(shape), weights.bias.view(shape)

    def mean_over(values: Tensor, out: Tensor) -> None:
        torch.sum(values, over, keepdim=True, out=out)
        out.mul_(share)

    def normalise() -> None:
        mean_over(x, mean)
        torch.sub(x, mean, out=xhat)
        if not spatial:
            xhat.mul_(unit_mask)
        torch.mul(xhat, xhat, out=product)
        mean_over(product, inverse)
        inverse.add_(NORM_EPS).rsqrt_()
        xhat.mul_(inverse)
        torch.addcmul(beta, xhat, gamma, out=y)

    tape.forward.append(normalise)
    if not tape.training:
        return y
    along = torch.zeros_like(mean)

    def differentiate() -> None:
        dy, dx = grads.of(y), grads.of(x)
        torch.sum(dy, over_batch, out=weights.bias_grad)
        torch.mul(dy, xhat, out=product)
        torch.sum(product, over_batch, out=weights.weight_grad)
        torch.mul(dy, gamma, out=dx)
        torch.mul(dx, xhat, out=product)
        mean_over(dx, mean)
        mean_over(product, along)
        torch.mul(xhat, along, out=product)
        dx.sub_(mean).sub_(product).mul_(inverse)
        if not spatial:
            dx.mul_(unit_mask)

    grads.of(y)  # the buffers are made now, not while a graph is captured
    grads.of(x)
    tape.backward.append(differentiate)
    return y


class Branches:
    """The residual branches that are open while a network is recorded."""

    def __init__(self) -> None:
        self._open: list[tuple[Tensor, list[Tensor]]] = []

    def fork(self, tape: Tape, grads: Gradients, x: Tensor) -> None:
        """Keep x for `join`. The layer above must not change it in place."""
        skipped: list[Tensor] = []
        self._open.append((x, skipped))
        if tape.training:
            dx = grads.of(x)
            # Runs after the branch's backward, which writes dx anew.
            tape.backward.append(lambda: dx.add_(skipped[0]))

    def join(self, tape: Tape, grads: Gradients, x: Tensor) -> Tensor:
        """Add what was kept last to the branch's output x."""
        kept, skipped = self._open.pop()
        y = tape.memory.buffer(*x.shape)
        tape.forward.append(partial(torch.add, x, kept, out=y))
        if tape.training:
            dy = grads.of(y)
            skipped.append(dy)
            tape.backward.append(partial(grads.of(x).copy_, dy))
        return y


def emit_global_average(tape: Tape, grads: Gradients, x_KBCHW: Tensor) -> Tensor:
    """The mean of each channel over the image, (K, B, F): zeros behind the channels up to a rounded width."""
    num_trials, batch, channels, height, width = x_KBCHW.shape
    y_KBF = tape.memory.buffer(num_trials, batch, rounded_width(channels))
    tape.forward.append(partial(torch.mean, x_KBCHW, (3, 4), out=y_KBF[:, :, :channels]))
    if tape.training:
        dy = grads.of(y_KBF)[:, :, :channels, None, None].expand(x_KBCHW.shape)
        tape.backward.append(partial(torch.mul, dy, 1.0 / (height * width), out=grads.of(x_KBCHW)))
    return y_KBF
