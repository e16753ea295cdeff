"""The layers of images: convolution and pooling.

Shapes: K trials, B examples of a batch, C channels, H height, W width, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tuner.models.layers.activations import aten
from tuner.models.layers.layer import Layer, LayerRows, Parameter
from tuner.models.layers.widths import rounded_width


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
        """See `Layer.record`.

        On CUDA all trials are one grouped convolution. On CPU each trial's is called by itself: the library's
        kernels for grouped convolutions are slow, and choosing among them by the number of groups would make a trial's
        result depend on its neighbours.
        """
        tape, weights, x_KBCHW = rows.tape, rows.weights, x
        num_trials, batch, channels_in, height, width = x_KBCHW.shape
        channels_out, padding = self.channels_out, [self.kernel // 2, self.kernel // 2]
        y = tape.memory.buffer(num_trials, batch, channels_out, height, width)
        dy = tape.memory.gradient(y) if tape.training else y
        dx = tape.memory.gradient(x_KBCHW) if tape.training and not rows.first else None
        grouped = tape.device.type == "cuda"
        kind = torch.bfloat16 if tape.half else torch.float32

        def side_by_side(t: Tensor) -> Tensor:
            """(K, B, C, H, W) to (B, K C, H, W)."""
            return t.transpose(0, 1).reshape(batch, num_trials * t.shape[2], height, width)

        def apart(t: Tensor, channels: int) -> Tensor:
            return t.view(batch, num_trials, channels, height, width).transpose(0, 1)

        def forward_grouped() -> None:
            found = torch.conv2d(
                side_by_side(x_KBCHW).to(kind), weights.weight.flatten(0, 1).to(kind), weights.bias.flatten().to(kind),
                1, padding, 1, num_trials,
            )  # fmt: skip
            y.copy_(apart(found, channels_out))

        def backward_grouped() -> None:
            dxs, dw, db = aten.convolution_backward(
                side_by_side(dy).to(kind), side_by_side(x_KBCHW).to(kind), weights.weight.flatten(0, 1).to(kind),
                [num_trials * channels_out],
                [1, 1], padding, [1, 1], False, [0, 0], num_trials, [dx is not None, True, True],
            )  # fmt: skip
            weights.weight_grad.copy_(dw.view(weights.weight.shape))
            weights.bias_grad.copy_(db.view(weights.bias.shape))
            if dx is not None:
                dx.copy_(apart(dxs, channels_in))

        def forward_each() -> None:
            for k in range(num_trials):
                y[k] = torch.conv2d(x_KBCHW[k], weights.weight[k], weights.bias[k], 1, padding)

        def backward_each() -> None:
            for k in range(num_trials):
                dx_k, dw, db = aten.convolution_backward(
                    dy[k], x_KBCHW[k], weights.weight[k], [channels_out],
                    [1, 1], padding, [1, 1], False, [0, 0], 1, [dx is not None, True, True],
                )  # fmt: skip
                weights.weight_grad[k] = dw
                weights.bias_grad[k] = db
                if dx is not None:
                    dx[k] = dx_k

        tape.forward.append(forward_grouped if grouped else forward_each)
        if tape.training:
            tape.backward.append(backward_grouped if grouped else backward_each)
        return y


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
        y = tape.memory.buffer(num_trials, batch, channels, height // size, width // size)
        x_4d, y_4d = x.flatten(0, 1), y.flatten(0, 1)
        indices = torch.zeros(y_4d.shape, dtype=torch.int64, device=tape.device)
        window = ([size, size], [size, size], [0, 0], [1, 1], False)
        tape.forward.append(partial(aten.max_pool2d_with_indices.out, x_4d, *window, out=y_4d, indices=indices))
        if tape.training:
            dy_4d, dx_4d = tape.memory.gradient(y).flatten(0, 1), tape.memory.gradient(x).flatten(0, 1)
            differentiate = aten.max_pool2d_with_indices_backward.grad_input
            tape.backward.append(partial(differentiate, dy_4d, x_4d, *window, indices, grad_input=dx_4d))
        return y


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
        return x.flatten(2) if x.dim() > 3 else x
