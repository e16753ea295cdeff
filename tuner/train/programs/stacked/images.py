"""The layers of images, recorded on a tape as in `stacked.layers`: convolution and pooling.

Shapes: K trials, B examples of a batch, C channels, H height, W width.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from tuner.train.programs.stacked.layers import Gradients, Weights
from tuner.train.programs.stacked.tape import Tape

aten = torch.ops.aten


def emit_convolution(tape: Tape, grads: Gradients, x_KBCHW: Tensor, weights: Weights, *, first: bool) -> Tensor:
    """2-D convolution with padding that keeps height and width.

    On CUDA all trials are one grouped convolution. On CPU each trial's is called by itself: the library's
    kernels for grouped convolutions are slow, and choosing among them by the number of groups would make a trial's
    result depend on its neighbours.
    """
    num_trials, batch, channels_in, height, width = x_KBCHW.shape
    channels_out, kernel = weights.weight.shape[1], weights.weight.shape[3]
    padding = [kernel // 2, kernel // 2]
    y = tape.memory.buffer(num_trials, batch, channels_out, height, width)
    dy = grads.of(y) if tape.training else y
    dx = grads.of(x_KBCHW) if tape.training and not first else None
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


def emit_max_pool(tape: Tape, grads: Gradients, x_KBCHW: Tensor, size: int) -> Tensor:
    """Maximum over squares of `size` by `size`."""
    num_trials, batch, channels, height, width = x_KBCHW.shape
    y = tape.memory.buffer(num_trials, batch, channels, height // size, width // size)
    x_4d, y_4d = x_KBCHW.flatten(0, 1), y.flatten(0, 1)
    indices = torch.zeros(y_4d.shape, dtype=torch.int64, device=tape.device)
    window = ([size, size], [size, size], [0, 0], [1, 1], False)
    tape.forward.append(partial(aten.max_pool2d_with_indices.out, x_4d, *window, out=y_4d, indices=indices))
    if tape.training:
        dy_4d, dx_4d = grads.of(y).flatten(0, 1), grads.of(x_KBCHW).flatten(0, 1)
        tape.backward.append(
            partial(aten.max_pool2d_with_indices_backward.grad_input, dy_4d, x_4d, *window, indices, grad_input=dx_4d)
        )
    return y
