"""Embeddings of a table's numbers: several smooth functions of each, beside the number itself.

Shapes: K trials, B examples of a batch, N numbers, C cosines of each, F features, of which the first N are the numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tuner.models.layers.layer import Layer, LayerRows, Parameter

_FREQUENCY = 1.0
"""Standard deviation of the initial frequencies, for numbers of unit variance (radians)."""


class _CosineModule(nn.Module):
    def __init__(self, numbers: int, cosines: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(numbers, cosines))
        self.bias = nn.Parameter(torch.empty(numbers * cosines))

    def forward(self, x_BF: Tensor) -> Tensor:
        numbers = self.weight.shape[0]
        angles_BNC = x_BF[:, :numbers, None] * self.weight + self.bias.view_as(self.weight)
        return torch.cat([angles_BNC.cos().flatten(1), x_BF], dim=1)


@dataclass(frozen=True, slots=True)
class Cosines(Layer):
    """cos(w x + b) of each number, w and b learnt (a periodic embedding of arXiv 2203.05556), then the features."""

    features: int
    numbers: int
    cosines: int

    @property
    def copies(self) -> int:
        return 2

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.numbers * self.cosines + self.features,)

    def parameters(self, index: int) -> list[Parameter]:
        size = self.numbers * self.cosines
        return [
            Parameter(index, "weight", (self.numbers, self.cosines), 1, self.cosines, spread=_FREQUENCY),
            Parameter(index, "bias", (size,), 1, self.cosines, spread=math.pi),
        ]

    def module(self) -> nn.Module:
        return _CosineModule(self.numbers, self.cosines)

    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        """See `Layer.record`; it stands first in its network, so that nothing below asks for a gradient."""
        assert rows.first, "the gradient of its input is not worked out"
        tape, weights, size = rows.tape, rows.weights, self.numbers * self.cosines
        parts = (len(x), x.shape[1], self.numbers, self.cosines)
        angles, y = (tape.memory.buffer(len(x), x.shape[1], size + self.features) for _ in range(2))
        angles_KBNC, x_KBN1 = angles[:, :, :size].view(parts), x[:, :, : self.numbers].unsqueeze(3)
        bias_K1NC = weights.bias.view(len(x), 1, *parts[2:])
        tape.forward.append(partial(torch.mul, x_KBN1, weights.weight.unsqueeze(1), out=angles_KBNC))
        tape.forward.append(partial(angles_KBNC.add_, bias_K1NC))
        # Vector and scalar versions of a cosine round differently: they run on the whole memory of a buffer.
        tape.forward.append(partial(torch.cos, tape.memory.flat(angles), out=tape.memory.flat(y)))
        tape.forward.append(partial(y[:, :, size:].copy_, x[:, :, : self.features]))
        if not tape.training:
            return y
        dy, angles_flat = tape.memory.gradient(y), tape.memory.flat(angles)
        slope_KBNC = angles_KBNC
        # From the end: angles become -sin(angles) dy, the gradient of the phases, then that of the frequencies.
        tape.backward.append(partial(torch.sum, slope_KBNC, 1, out=weights.weight_grad))
        tape.backward.append(partial(slope_KBNC.mul_, x_KBN1))
        tape.backward.append(partial(torch.sum, angles[:, :, :size], 1, out=weights.bias_grad))
        tape.backward.append(angles_flat.neg_)
        tape.backward.append(partial(angles_flat.mul_, tape.memory.flat(dy)))
        tape.backward.append(angles_flat.sin_)
        return y
