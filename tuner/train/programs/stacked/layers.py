"""Each layer's forward and backward, recorded on a tape for K trials at once.

Shapes: K trials, B examples of a batch, I inputs, O outputs, C channels, F features.
An `emit_*` function takes the layer's input buffer, records its operations and returns the output buffer; the
gradient of a buffer is written into the buffer that `Gradients.of` gives for it, and overwritten on the way back.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tuner.models.activations import ACTIVATIONS
from tuner.models.keyed import dropout_field
from tuner.models.layers import BATCH_NORM_MOMENTUM, NORM_EPS
from tuner.train.programs.stacked.tape import Tape, TapeMemory


@dataclass(frozen=True, slots=True)
class Weights:
    """A layer's parameters and their gradients: views into rows, shape (K, ...)."""

    weight: Tensor
    bias: Tensor
    weight_grad: Tensor
    bias_grad: Tensor


@dataclass(frozen=True, slots=True)
class DropoutInputs:
    """What the dropout of a step depends on; int32 and float32 of shape (K,), refilled for each step."""

    key_K: Tensor
    threshold_K: Tensor
    scale_K: Tensor


class Gradients:
    """The gradient buffer of each activation buffer."""

    def __init__(self, memory: TapeMemory) -> None:
        self._memory = memory
        self._of: dict[int, Tensor] = {}

    def of(self, activation: Tensor) -> Tensor:
        """The gradient buffer of an activation, in its shape."""
        memory = activation.data_ptr()
        if memory not in self._of:
            self._of[memory] = self._memory.buffer(*activation.shape)
        return self._of[memory].view(activation.shape)


def emit_dense(tape: Tape, grads: Gradients, x_KBI: Tensor, weights: Weights, *, first: bool) -> Tensor:
    """y = x W + b. `first`: nothing below needs a gradient."""
    w_KIO = weights.weight
    y_KBO = tape.memory.buffer(tape.num_trials, x_KBI.shape[1], w_KIO.shape[2])
    if tape.half:
        _emit_dense_half(tape, grads, x_KBI, y_KBO, weights, first=first)
        return y_KBO
    tape.forward.append(partial(torch.baddbmm, weights.bias.unsqueeze(1), x_KBI, w_KIO, out=y_KBO))
    if not tape.training:
        return y_KBO
    dy_KBO = grads.of(y_KBO)
    if not first:
        tape.backward.append(partial(torch.bmm, dy_KBO, w_KIO.transpose(1, 2), out=grads.of(x_KBI)))
    tape.backward.append(partial(torch.sum, dy_KBO, 1, out=weights.bias_grad))
    x_KIB = x_KBI.transpose(1, 2)
    if tape.num_trials == 1:
        tape.backward.append(partial(torch.bmm, x_KIB, dy_KBO, out=weights.weight_grad))
    else:
        # A batched product wants contiguous output; rows are not, so it goes through a scratch tensor. The backward
        # pass runs from the list's end: the product first, then the copy.
        scratch_KIO = tape.memory.buffer(*w_KIO.shape)
        tape.backward.append(partial(weights.weight_grad.copy_, scratch_KIO))
        tape.backward.append(partial(torch.bmm, x_KIB, dy_KBO, out=scratch_KIO))
    return y_KBO


def _emit_dense_half(
    tape: Tape, grads: Gradients, x_KBI: Tensor, y_KBO: Tensor, weights: Weights, *, first: bool
) -> None:
    """The products of `emit_dense` in bfloat16, from and to float32 buffers."""
    w_KIO = weights.weight

    def forward() -> None:
        product = torch.bmm(x_KBI.bfloat16(), w_KIO.bfloat16())
        torch.add(product, weights.bias.unsqueeze(1), out=y_KBO)

    def backward() -> None:
        dy_KBO = grads.of(y_KBO)
        dy_half = dy_KBO.bfloat16()
        weights.weight_grad.copy_(torch.bmm(x_KBI.bfloat16().transpose(1, 2), dy_half))
        torch.sum(dy_KBO, 1, out=weights.bias_grad)
        if not first:
            grads.of(x_KBI).copy_(torch.bmm(dy_half, w_KIO.bfloat16().transpose(1, 2)))

    tape.forward.append(forward)
    if tape.training:
        grads.of(y_KBO)  # the buffers are made now, not while a graph is captured
        if not first:
            grads.of(x_KBI)
        tape.backward.append(backward)


def emit_activation(tape: Tape, grads: Gradients, x: Tensor, name: str, unit_mask: Tensor) -> Tensor:
    """An elementwise nonlinearity.

    `unit_mask` is 1 for a trial's own units and 0 for those that rounding added; broadcasts to x. It is needed by those
    that are not zero at zero.
    """
    kind = ACTIVATIONS[name]
    if kind.in_place:
        tape.forward.append(partial(kind.forward, x))
        if name == "relu":
            tape.rectified.append(x)
        if tape.training:
            dx = grads.of(x)
            tape.backward.append(partial(kind.backward, dx, x, grad_input=dx))
        return x
    y = tape.memory.buffer(*x.shape)
    x_flat, y_flat = tape.memory.flat(x), tape.memory.flat(y)
    # Functions with vector and scalar versions that round differently run on the whole memory of a buffer.
    tape.forward.append(partial(kind.forward, x_flat, out=y_flat))
    if not kind.is_zero_at_zero:
        tape.forward.append(partial(y.mul_, unit_mask))
    if tape.training:
        dx_flat, dy_flat = tape.memory.flat(grads.of(x)), tape.memory.flat(grads.of(y))
        seen = y_flat if kind.from_output else x_flat
        tape.backward.append(partial(kind.backward, dy_flat, seen, grad_input=dx_flat))
    return y


def emit_dropout(tape: Tape, grads: Gradients, x: Tensor, inputs: DropoutInputs, *, in_place: bool) -> Tensor:
    """Inverted dropout in training, nothing in evaluation.

    `in_place`: the layer below is a ReLU, whose gradient is right from the masked output too.
    """
    if not tape.training:
        return x
    per_trial = (-1,) + (1,) * (x.dim() - 1)
    key, threshold, scale = (t.view(per_trial) for t in (inputs.key_K, inputs.threshold_K, inputs.scale_K))
    field = dropout_field(x[0].numel(), tape.device).view(x.shape[1:])
    drawn = torch.empty(x.shape, dtype=torch.int32, device=tape.device)
    mask = tape.memory.buffer(*x.shape)
    y = x if in_place else tape.memory.buffer(*x.shape)
    tape.forward += [
        partial(torch.mul, field, key, out=drawn),
        partial(torch.ge, drawn, threshold, out=mask),
        partial(mask.mul_, scale),
        partial(torch.mul, x, mask, out=y),
    ]
    tape.backward.append(partial(torch.mul, grads.of(y), mask, out=grads.of(x)))
    return y


def emit_batch_norm(
    tape: Tape,
    grads: Gradients,
    x: Tensor,
    weights: Weights,
    mean_KF: Tensor,
    var_KF: Tensor,
    held_K: Tensor | None = None,
) -> Tensor:
    """Batch norm with statistics for each trial; running mean and variance are updated as `nn.BatchNorm` does.

    `x` is (K, B, F) or (K, B, F, H, W). Trials for which `held_K` is true normalise by their running mean and variance
    in training too, and keep them.
    """
    spatial = x.dim() == 5
    over = (1, 3, 4) if spatial else (1,)
    count = x.shape[1] * (x.shape[3] * x.shape[4] if spatial else 1)
    shape = (tape.num_trials, 1, x.shape[2]) + ((1, 1) if spatial else ())
    y = tape.memory.buffer(*x.shape)
    gamma, beta = weights.weight.view(shape), weights.bias.view(shape)
    a_KF, c_KF = torch.zeros_like(mean_KF), torch.zeros_like(mean_KF)
    a, c = a_KF.view(shape), c_KF.view(shape)
    if not tape.training:

        def evaluate() -> None:
            torch.add(var_KF, NORM_EPS, out=a_KF).rsqrt_().mul_(weights.weight)
            torch.addcmul(weights.bias, mean_KF, a_KF, value=-1.0, out=c_KF)
            torch.addcmul(c, x, a, out=y)

        tape.forward.append(evaluate)
        return y

    xhat, product, inverse = tape.memory.buffer(*x.shape), tape.memory.buffer(*x.shape), torch.zeros_like(mean_KF)

    held_K1 = None if held_K is None else held_K.unsqueeze(1)

    def normalise_held(held_K1: Tensor) -> None:
        """The batch's mean in `a_KF` and variance in `c_KF` give way to the running ones where these are held."""
        new_mean, new_var = mean_KF.clone(), var_KF.clone()
        new_mean.lerp_(a_KF, BATCH_NORM_MOMENTUM)
        new_var.mul_(1 - BATCH_NORM_MOMENTUM).add_(c_KF, alpha=BATCH_NORM_MOMENTUM * count / max(count - 1, 1))
        a_KF.copy_(torch.where(held_K1, mean_KF, a_KF))
        c_KF.copy_(torch.where(held_K1, var_KF, c_KF))
        mean_KF.copy_(torch.where(held_K1, mean_KF, new_mean))
        var_KF.copy_(torch.where(held_K1, var_KF, new_var))
        torch.sub(x, a, out=xhat)

    def normalise() -> None:
        torch.mean(x, over, out=a_KF)
        torch.sub(x, a, out=xhat)
        torch.mul(xhat, xhat, out=product)
        torch.mean(product, over, out=c_KF)
        if held_K1 is not None:
            normalise_held(held_K1)
        else:
            mean_KF.lerp_(a_KF, BATCH_NORM_MOMENTUM)
            var_KF.mul_(1 - BATCH_NORM_MOMENTUM).add_(c_KF, alpha=BATCH_NORM_MOMENTUM * count / max(count - 1, 1))
        torch.add(c_KF, NORM_EPS, out=inverse).rsqrt_()
        xhat.mul_(inverse.view(shape))
        torch.addcmul(beta, xhat, gamma, out=y)

    dy, dx = grads.of(y), grads.of(x)  # the buffers are made now, not while a graph is captured

    def differentiate() -> None:
        torch.sum(dy, over, out=weights.bias_grad)
        torch.mul(dy, xhat, out=product)
        torch.sum(product, over, out=weights.weight_grad)
        torch.div(weights.weight_grad, count, out=a_KF)
        torch.div(weights.bias_grad, count, out=c_KF)
        if held_K1 is not None:  # statistics that are held do not depend on the batch
            a_KF.masked_fill_(held_K1, 0.0)
            c_KF.masked_fill_(held_K1, 0.0)
        torch.mul(xhat, a, out=product)
        torch.sub(dy, c, out=dx)
        dx.sub_(product)
        torch.mul(inverse, weights.weight, out=a_KF)
        dx.mul_(a)

    tape.forward.append(normalise)
    tape.backward.append(differentiate)
    return y


def emit_widening(tape: Tape, grads: Gradients, x_KBI: Tensor, width: int) -> Tensor:
    """Zeros behind the features, up to the rounded width that the dense layer above has."""
    features = x_KBI.shape[2]
    y_KBO = tape.memory.buffer(tape.num_trials, x_KBI.shape[1], width)
    tape.forward.append(partial(y_KBO[:, :, :features].copy_, x_KBI))
    if tape.training:
        tape.backward.append(partial(grads.of(x_KBI).copy_, grads.of(y_KBO)[:, :, :features]))
    return y_KBO
