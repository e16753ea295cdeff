"""The activations: as a module, and as what the stacked program records forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tuner.models.layers.layer import Layer, LayerRows

aten = torch.ops.aten
_LEAKY_SLOPE = 0.01


@dataclass(frozen=True, kw_only=True, slots=True)
class Elementwise:
    """One activation, y = f(x)."""

    module: Callable[[], nn.Module]
    forward: Callable[..., Any]
    """Called with (x, out=y); where it is in place, with x alone."""
    backward: Callable[..., Any]
    """Called with (dy, x or y, grad_input=dx)."""
    from_output: bool = False
    """Whether `backward` looks at y and not at x."""
    in_place: bool = False
    """Whether y takes the memory of x. It may where y tells the sign of x, also behind a dropout."""
    is_relu_like: bool = False
    """Whether He's spread of initial weights is right for it (arXiv 1502.01852), and not Xavier's."""
    is_zero_at_zero: bool = True


def _threshold_backward(dy: Tensor, y: Tensor, *, grad_input: Tensor) -> None:
    aten.threshold_backward.grad_input(dy, y, 0.0, grad_input=grad_input)


def _leaky_relu_backward(dy: Tensor, y: Tensor, *, grad_input: Tensor) -> None:
    aten.leaky_relu_backward.grad_input(dy, y, _LEAKY_SLOPE, True, grad_input=grad_input)


def _elu_backward(dy: Tensor, x: Tensor, *, grad_input: Tensor) -> None:
    aten.elu_backward.grad_input(dy, 1, 1, 1, False, x, grad_input=grad_input)


ACTIVATIONS: Mapping[str, Elementwise] = {
    "relu": Elementwise(
        module=nn.ReLU, forward=torch.relu_, backward=_threshold_backward,
        from_output=True, in_place=True, is_relu_like=True,
    ),
    "leaky_relu": Elementwise(
        module=partial(nn.LeakyReLU, _LEAKY_SLOPE),
        forward=partial(nn.functional.leaky_relu_, negative_slope=_LEAKY_SLOPE), backward=_leaky_relu_backward,
        from_output=True, in_place=True, is_relu_like=True,
    ),
    "tanh": Elementwise(
        module=nn.Tanh, forward=aten.tanh.out, backward=aten.tanh_backward.grad_input, from_output=True
    ),
    "sigmoid": Elementwise(
        module=nn.Sigmoid, forward=aten.sigmoid.out, backward=aten.sigmoid_backward.grad_input,
        from_output=True, is_zero_at_zero=False,
    ),
    "gelu": Elementwise(
        module=nn.GELU, forward=aten.gelu.out, backward=aten.gelu_backward.grad_input, is_relu_like=True
    ),
    "silu": Elementwise(
        module=nn.SiLU, forward=aten.silu.out, backward=aten.silu_backward.grad_input, is_relu_like=True
    ),
    "elu": Elementwise(module=nn.ELU, forward=aten.elu.out, backward=_elu_backward, is_relu_like=True),
}  # fmt: skip
"""By the names that `tuner.spec.known.networks` has for them."""


def is_relu_like(name: str) -> bool:
    """Whether He's spread of initial weights is right before this activation; `linear`, which is none, has Xavier's."""
    return name in ACTIVATIONS and ACTIVATIONS[name].is_relu_like


@dataclass(frozen=True, slots=True)
class Activation(Layer):
    """An elementwise nonlinearity by its name in `ACTIVATIONS`."""

    name: str

    @property
    def in_place(self) -> bool:
        return ACTIVATIONS[self.name].in_place

    @property
    def copies(self) -> int:
        return 0 if self.in_place else 1

    def module(self) -> nn.Module:
        return ACTIVATIONS[self.name].module()

    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        kind, tape = ACTIVATIONS[self.name], rows.tape
        if kind.in_place:
            tape.forward.append(partial(kind.forward, x))
            if self.name == "relu":
                tape.rectified.append(x)
            if tape.training:
                dx = tape.memory.gradient(x)
                tape.backward.append(partial(kind.backward, dx, x, grad_input=dx))
            return x
        y = tape.memory.like(x)
        x_flat, y_flat = tape.memory.flat(x), tape.memory.flat(y)
        # Functions with vector and scalar versions that round differently run on the whole memory of a buffer.
        tape.forward.append(partial(kind.forward, x_flat, out=y_flat))
        if not kind.is_zero_at_zero:
            tape.forward.append(partial(y.mul_, rows.unit_mask()))
        if tape.training:
            dx_flat, dy_flat = tape.memory.flat(tape.memory.gradient(x)), tape.memory.flat(tape.memory.gradient(y))
            seen = y_flat if kind.from_output else x_flat
            tape.backward.append(partial(kind.backward, dy_flat, seen, grad_input=dx_flat))
        return y
