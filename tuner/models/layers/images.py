"""The layers of images: convolution and pooling.

Shapes: K trials, B examples of a batch, C channels, H height, W width, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod

import torch
from torch import Tensor, nn

from tuner.models.layers.activations import aten
from tuner.models.layers.convolving import record_by_library, record_by_products
from tuner.models.layers.layer import Layer, LayerRows, Parameter
from tuner.models.layers.tape import batch_last
from tuner.models.layers.widths import by_windows, rounded_width


@dataclass(frozen=True, slots=True)
class Convolution(Layer):
    """2-D convolution, stride 1, padded to keep height and width (odd kernel)."""

    channels_in: int
    channels_out: int
    kernel: int

    @property
    def units(self) -> int:
        return self.channels_out

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.channels_out, *shape[1:])

    def parameters(self, index: int) -> list[Parameter]:
        shape = (self.channels_out, self.channels_in, self.kernel, self.kernel)
        fan_in, fan_out = self.channels_in * self.kernel**2, self.channels_out * self.kernel**2
        return [
            Parameter(index, "weight", shape, fan_in, fan_out),
            Parameter(index, "bias", (self.channels_out,), fan_in, fan_out),
        ]

    def module(self) -> nn.Module:
        return nn.Conv2d(self.channels_in, self.channels_out, self.kernel, padding=self.kernel // 2)

    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        """See `Layer.record`: by matrix products on a CPU where images are small, and else by the library."""
        is_small = by_windows(self.channels_in, kernel=self.kernel, positions=prod(x.shape[3:])) > 0
        record = record_by_products if is_small and rows.tape.device.type == "cpu" else record_by_library
        return record(x, rows, channels_out=self.channels_out, kernel=self.kernel)


@dataclass(frozen=True, slots=True)
class MaxPool(Layer):
    """Maximum over squares of `size` by `size`, which halve (or more) height and width; a remainder is dropped."""

    size: int

    @property
    def copies(self) -> int:
        return 3  # indices are of 64 bits

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], *(side // self.size for side in shape[1:]))

    def module(self) -> nn.Module:
        return nn.MaxPool2d(self.size)

    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        tape, size = rows.tape, self.size
        num_trials, batch, channels, height, width = x.shape
        in_four, new_buffer = _in_four, tape.memory.buffer
        if batch_last(x) is not None:
            in_four, new_buffer = _in_four_beside, tape.memory.images
        y = new_buffer(num_trials, batch, channels, height // size, width // size)
        x_4d, y_4d = in_four(x), in_four(y)
        indices = torch.zeros_like(y_4d, dtype=torch.int64)
        window = ([size, size], [size, size], [0, 0], [1, 1], False)
        tape.forward.append(partial(aten.max_pool2d_with_indices.out, x_4d, *window, out=y_4d, indices=indices))
        if tape.training:
            dy_4d, dx_4d = in_four(tape.memory.gradient(y)), in_four(tape.memory.gradient(x))
            differentiate = aten.max_pool2d_with_indices_backward.grad_input
            tape.backward.append(partial(differentiate, dy_4d, x_4d, *window, indices, grad_input=dx_4d))
        return y


def _in_four(x: Tensor) -> Tensor:
    """Images in four dimensions, pooled independently along the first two."""
    return x.flatten(0, 1)


def _in_four_beside(x: Tensor) -> Tensor:
    """The same of examples that lie side by side: as channels that do, for which the library has vectors."""
    return x.permute(0, 2, 3, 4, 1).flatten(0, 1).permute(0, 3, 1, 2)


@dataclass(frozen=True, slots=True)
class GlobalAverage(Layer):
    """(channels, height, width) to the mean of each channel."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape[:1]

    def module(self) -> nn.Module:
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        """See `Layer.record`; behind the channels there are zeros up to a rounded width."""
        tape = rows.tape
        num_trials, batch, channels, height, width = x.shape
        y_KBF = tape.memory.buffer(num_trials, batch, rounded_width(channels))
        tape.forward.append(partial(torch.mean, x, (3, 4), out=y_KBF[:, :, :channels]))
        if tape.training:
            dy = tape.memory.gradient(y_KBF)[:, :, :channels, None, None].expand(x.shape)
            tape.backward.append(partial(torch.mul, dy, 1.0 / (height * width), out=tape.memory.gradient(x)))
        return y_KBF


@dataclass(frozen=True, slots=True)
class Flatten(Layer):
    """(channels, height, width) to (features,)."""

    @property
    def copies(self) -> int:
        return 0

    def module(self) -> nn.Module:
        return nn.Flatten()

    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        if batch_last(x) is None:
            return x.flatten(2) if x.dim() > 3 else x
        tape = rows.tape
        y = tape.memory.buffer(*x.shape)
        tape.forward.append(partial(y.copy_, x))
        if tape.training:
            tape.backward.append(partial(tape.memory.gradient(x).copy_, tape.memory.gradient(y)))
        return y.flatten(2)
