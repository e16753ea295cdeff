"""Dense layers.

Shapes: K trials, B examples of a batch, I inputs, O outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from tuner.models.layers.layer import Layer, LayerRows, Parameter, Weights
from tuner.models.layers.tape import Tape
from tuner.models.layers.widths import rounded_width


@dataclass(frozen=True, slots=True)
class Dense(Layer):
    """x W + b, with W of shape (inputs, outputs)."""

    is_transposed: ClassVar[bool] = True

    inputs: int
    outputs: int

    @property
    def units(self) -> int:
        return self.outputs

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.outputs,)

    def parameters(self, index: int) -> list[Parameter]:
        return [
            Parameter(index, "weight", (self.inputs, self.outputs), self.inputs, self.outputs),
            Parameter(index, "bias", (self.outputs,), self.inputs, self.outputs),
        ]

    def rounded(self) -> Dense:
        return Dense(rounded_width(self.inputs), rounded_width(self.outputs))

    def module(self) -> nn.Module:
        return nn.Linear(self.inputs, self.outputs)

    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        tape, weights, w_KIO = rows.tape, rows.weights, rows.weights.weight
        x_KBI = x if x.shape[2] == self.inputs else _widened(tape, x, self.inputs)
        y_KBO = tape.memory.buffer(tape.num_trials, x_KBI.shape[1], self.outputs)
        if tape.half:
            _record_half(tape, x_KBI, y_KBO, weights, first=rows.first)
            return y_KBO
        tape.forward.append(partial(torch.baddbmm, weights.bias.unsqueeze(1), x_KBI, w_KIO, out=y_KBO))
        if not tape.training:
            return y_KBO
        dy_KBO = tape.memory.gradient(y_KBO)
        if not rows.first:
            tape.backward.append(partial(torch.bmm, dy_KBO, w_KIO.transpose(1, 2), out=tape.memory.gradient(x_KBI)))
        tape.backward.append(partial(torch.sum, dy_KBO, 1, out=weights.bias_grad))
        x_KIB = x_KBI.transpose(1, 2)
        if tape.num_trials == 1:
            tape.backward.append(partial(torch.bmm, x_KIB, dy_KBO, out=weights.weight_grad))
        else:
            # A batched product wants contiguous output; rows are not, so it goes through a scratch tensor. The
            # backward pass runs from the list's end: the product first, then the copy.
            scratch_KIO = tape.memory.buffer(*w_KIO.shape)
            tape.backward.append(partial(weights.weight_grad.copy_, scratch_KIO))
            tape.backward.append(partial(torch.bmm, x_KIB, dy_KBO, out=scratch_KIO))
        return y_KBO


def _record_half(tape: Tape, x_KBI: Tensor, y_KBO: Tensor, weights: Weights, *, first: bool) -> None:
    """The products of `Dense.record` in bfloat16, from and to float32 buffers."""
    w_KIO, memory = weights.weight, tape.memory

    def forward() -> None:
        product = torch.bmm(x_KBI.bfloat16(), w_KIO.bfloat16())
        torch.add(product, weights.bias.unsqueeze(1), out=y_KBO)

    def backward() -> None:
        dy_KBO = memory.gradient(y_KBO)
        dy_half = dy_KBO.bfloat16()
        weights.weight_grad.copy_(torch.bmm(x_KBI.bfloat16().transpose(1, 2), dy_half))
        torch.sum(dy_KBO, 1, out=weights.bias_grad)
        if not first:
            memory.gradient(x_KBI).copy_(torch.bmm(dy_half, w_KIO.bfloat16().transpose(1, 2)))

    tape.forward.append(forward)
    if tape.training:
        memory.gradient(y_KBO)  # the buffers are made now, not while a graph is captured
        if not first:
            memory.gradient(x_KBI)
        tape.backward.append(backward)


def _widened(tape: Tape, x_KBI: Tensor, width: int) -> Tensor:
    """Zeros behind the features, up to the rounded width of the layer."""
    features = x_KBI.shape[2]
    y_KBO = tape.memory.buffer(tape.num_trials, x_KBI.shape[1], width)
    tape.forward.append(partial(y_KBO[:, :, :features].copy_, x_KBI))
    if tape.training:
        tape.backward.append(partial(tape.memory.gradient(x_KBI).copy_, tape.memory.gradient(y_KBO)[:, :, :features]))
    return y_KBO
