"""How the convolutions of K trials are computed, forward and backward: by matrix products, or by the library.

Shapes: K trials, B examples of a batch, C channels, H height, W width, I inputs and O outputs (channels of them),
N = H W B numbers of a channel, R = I x the positions of the kernel.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from tuner.models.layers.activations import aten
from tuner.models.layers.layer import LayerRows, Weights
from tuner.models.layers.tape import Tape, batch_last


def record_by_products(x: Tensor, rows: LayerRows, *, channels_out: int, kernel: int) -> Tensor:
    """Record a convolution as products of its weights and the windows that each position sees.

    The examples of a batch lie side by side, so that a window's numbers are moved in long runs. Where the kernel hangs
    over the border, the windows are zero for good.
    """
    tape, weights = rows.tape, rows.weights
    num_trials, batch, _, height, width = x.shape
    if batch_last(x) is None:
        x = _turned(tape, x, needs_gradient=not rows.first)
    x_KCHWB = x.permute(0, 2, 3, 4, 1)
    y = tape.memory.images(num_trials, batch, channels_out, height, width)
    y_KON = y.permute(0, 2, 3, 4, 1).flatten(2)
    windows = _Windows(x_KCHWB, kernel=kernel, with_ones=tape.training)
    w_KOR = weights.weight.flatten(2)
    tape.forward += [
        windows.cut,
        partial(torch.baddbmm, weights.bias.unsqueeze(2), w_KOR, windows.cut_KRN[:, : w_KOR.shape[2]], out=y_KON),
    ]
    if not tape.training:
        return y
    dy_KOHWB = tape.memory.gradient(y).permute(0, 2, 3, 4, 1)
    if not rows.first:
        dx_KIN = tape.memory.gradient(x).permute(0, 2, 3, 4, 1).flatten(2)
        _record_input_gradient(tape, dy_KOHWB, dx_KIN, weights, kernel=kernel)
    gradients = tape.memory.buffer(num_trials, channels_out, windows.cut_KRN.shape[1])
    tape.backward += [
        partial(weights.bias_grad.copy_, gradients[:, :, -1]),  # the product with the ones
        partial(weights.weight_grad.flatten(2).copy_, gradients[:, :, :-1]),
        partial(torch.bmm, dy_KOHWB.flatten(2), windows.cut_KRN.transpose(1, 2), out=gradients),
    ]
    return y


class _Windows:
    """The windows of images as a matrix (K, R, N), and how they are cut out of these."""

    def __init__(self, x_KCHWB: Tensor, *, kernel: int, with_ones: bool) -> None:
        num_trials, channels, height, width, batch = x_KCHWB.shape
        num_rows = channels * kernel**2
        self.cut_KRN = torch.zeros(num_trials, num_rows + with_ones, height * width * batch)
        """With a last row of ones, if they were asked for."""
        if with_ones:
            self.cut_KRN[:, -1] = 1.0
        cut = self.cut_KRN[:, :num_rows].view(num_trials, channels, kernel, kernel, height, width, batch)
        self._pairs = []
        for i in range(kernel):
            for j in range(kernel):
                down, right = i - kernel // 2, j - kernel // 2
                target = cut[:, :, i, j, _overlap(height, -down), _overlap(width, -right)]
                source = x_KCHWB[:, :, _overlap(height, down), _overlap(width, right)]
                if target.numel():
                    self._pairs.append((target, source))

    def cut(self) -> None:
        for target, source in self._pairs:
            target.copy_(source)


def _overlap(size: int, shift: int) -> slice:
    """Where a line and the same line shifted so far overlap, as places of the one that is shifted."""
    return slice(max(0, shift), max(0, size + min(0, shift)))


def _record_input_gradient(tape: Tape, dy_KOHWB: Tensor, dx_KIN: Tensor, weights: Weights, *, kernel: int) -> None:
    """It is the convolution of the outputs' gradient with the kernel turned by half a circle."""
    num_trials, channels_out, channels_in = weights.weight.shape[:3]
    windows = _Windows(dy_KOHWB, kernel=kernel, with_ones=False)
    turned = tape.memory.buffer(num_trials, channels_in, channels_out, kernel, kernel)
    places = [(i, j) for i in range(kernel) for j in range(kernel)]
    pairs = [
        (turned[..., i, j].transpose(1, 2), weights.weight[..., kernel - 1 - i, kernel - 1 - j]) for i, j in places
    ]

    def turn() -> None:
        for target, source in pairs:
            target.copy_(source)

    tape.backward += [partial(torch.bmm, turned.flatten(2), windows.cut_KRN, out=dx_KIN), windows.cut, turn]


def _turned(tape: Tape, x: Tensor, *, needs_gradient: bool) -> Tensor:
    """Images, an example of which is in one piece, with their examples side by side."""
    beside = tape.memory.images(*x.shape)
    tape.forward.append(partial(beside.copy_, x))
    if tape.training and needs_gradient:
        tape.backward.append(partial(tape.memory.gradient(x).copy_, tape.memory.gradient(beside)))
    return beside


def record_by_library(x: Tensor, rows: LayerRows, *, channels_out: int, kernel: int) -> Tensor:
    """Record the library's convolutions.

    On CUDA all trials are one grouped convolution. On CPU each trial's is called by itself: the library's
    kernels for grouped convolutions are slow, and choosing among them by the number of groups would make a trial's
    result depend on its neighbours.
    """
    tape, weights, x_KBCHW = rows.tape, rows.weights, x
    num_trials, batch, channels_in, height, width = x_KBCHW.shape
    padding = [kernel // 2, kernel // 2]
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
