"""Ordinary modules with habits that only a plain loop around them does justice to."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, relu

from tuner.data.dataset import DataInfo

Params = Mapping[str, Any]


class Net(nn.Module):
    """Two layers; what is done to what they compute is the habits' affair."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.inner = nn.Linear(math.prod(data.input_shape), 24)
        self.outer = nn.Linear(24, data.num_outputs)

    def units(self, x: Tensor) -> Tensor:
        return relu(self.inner(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.units(x))


class HeldNorm(Net):
    """Its batch norm stays in evaluation mode, whatever `train()` is told."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.norm = nn.BatchNorm1d(24)

    def train(self, mode: bool = True) -> HeldNorm:
        super().train(mode)
        self.norm.eval()
        return self

    def units(self, x: Tensor) -> Tensor:
        return relu(self.norm(self.inner(x.flatten(1))))


class ShortWeights(Net):
    """Each pass puts shortened weights in the place of those that were trained."""

    def units(self, x: Tensor) -> Tensor:
        self.inner.weight.data = torch.renorm(self.inner.weight.data, 2, 0, 0.5)
        return super().units(x)


class ChangesInputs(Net):
    """Scales its inputs where they lie."""

    def units(self, x: Tensor) -> Tensor:
        x.mul_(0.5).add_(0.1)
        return super().units(x)


class CountsPasses(Net):
    """Fades a factor out by a number of Python's."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.passes = 0

    def units(self, x: Tensor) -> Tensor:
        if self.training:
            self.passes += 1
        return super().units(x) * (1 + math.exp(-self.passes / 5))


class CountsInBuffer(Net):
    """The same by a buffer that is put anew."""

    passes: Tensor

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.register_buffer("passes", torch.zeros(()))

    def units(self, x: Tensor) -> Tensor:
        if self.training:
            self.passes = self.passes + 1
        return super().units(x) * (1 + torch.exp(-self.passes / 5))


class CountsUnsaved(CountsInBuffer):
    """In a buffer that is changed where it lies, and that no state dict has."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.register_buffer("passes", torch.zeros(()), persistent=False)

    def units(self, x: Tensor) -> Tensor:
        if self.training:
            self.passes += 1
        return Net.units(self, x) * (1 + torch.exp(-self.passes / 5))


class Skipping(Net):
    """Leaves a layer out by chance: Python's, or NumPy's."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.middle = nn.Linear(24, 24)

    def units(self, x: Tensor) -> Tensor:
        units = super().units(x)
        if self.training and (random.random() < 0.3 or np.random.rand() < 0.2):
            return units
        return units + relu(self.middle(units))


class Spectral(Net):
    """Complex weights."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.spectrum = nn.Parameter(torch.randn(math.prod(data.input_shape), dtype=torch.cfloat))

    def units(self, x: Tensor) -> Tensor:
        return super().units(torch.fft.ifft(torch.fft.fft(x.flatten(1)) * self.spectrum).real)


class Dropping(Net):
    """Drops units by PyTorch's own layer."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.drop = nn.Dropout(0.3)

    def units(self, x: Tensor) -> Tensor:
        return self.drop(super().units(x))


class DropsInEvaluation(Dropping):
    """Finds its dropout layers by their type, and keeps them on."""

    def train(self, mode: bool = True) -> DropsInEvaluation:
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.Dropout):
                part.train()
        return self


class RaisesRate(Dropping):
    """Raises the rate of its dropout layer from epoch to epoch."""

    def train(self, mode: bool = True) -> RaisesRate:
        if mode:
            self.drop.p = min(0.6, self.drop.p + 0.1)
        return super().train(mode)


class ReadsRate(Dropping):
    """Takes the rate from a layer that it never calls."""

    def units(self, x: Tensor) -> Tensor:
        return dropout(Net.units(self, x), self.drop.p, self.training)


class NumpyWeights(Net):
    """Weights drawn by NumPy and by Python."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        with torch.no_grad():
            self.inner.weight.copy_(torch.from_numpy(np.random.normal(0, 0.1, self.inner.weight.shape)))
            self.outer.bias.fill_(random.random())


class Averaged(Net):
    """Answers by a moving average of itself in evaluation."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.average = Net(params, data).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.average(x)
        with torch.no_grad():
            for mean, own in zip(self.average.parameters(), [*self.inner.parameters(), *self.outer.parameters()]):  # noqa: B905
                mean.lerp_(own, 0.2)
        return super().forward(x)


class Permuted(Net):
    """Whole numbers as a frozen parameter, doubles as a buffer."""

    scale: Tensor

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.order = nn.Parameter(torch.randperm(math.prod(data.input_shape)), requires_grad=False)
        self.register_buffer("scale", torch.rand(math.prod(data.input_shape), dtype=torch.float64))

    def units(self, x: Tensor) -> Tensor:
        return super().units((x.flatten(1)[:, self.order] * self.scale).float())


class Narrow(Net):
    """A frozen layer in bfloat16."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.body = nn.Linear(math.prod(data.input_shape), 24).bfloat16().requires_grad_(False)

    def units(self, x: Tensor) -> Tensor:
        return super().units(x) + self.body(x.flatten(1).bfloat16()).float()


class HasVersion(Net):
    """Saves more than tensors."""

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.version = state["version"]
