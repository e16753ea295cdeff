"""Small networks with habits: what people do in a module besides computing layer by layer."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, gumbel_softmax, linear, relu
from torch.utils.checkpoint import checkpoint

from tuner.records import DataInfo

Params = Mapping[str, Any]


class Dense(nn.Module):
    """Two layers, for the habits to change."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.first = nn.Linear(math.prod(data.input_shape), 16)
        self.last = nn.Linear(16, data.num_outputs)

    def hidden(self, x: Tensor) -> Tensor:
        return relu(self.first(x.flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.hidden(x))


class Adapter(Dense):
    """A frozen layer and a low-rank one beside it, added together while it only answers."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.first.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(3, self.first.in_features) * 0.1)
        self.up = nn.Parameter(torch.zeros(16, 3))
        self.is_merged = False

    @torch.no_grad()
    def train(self, mode: bool = True) -> Adapter:
        super().train(mode)
        if mode == self.is_merged:
            self.first.weight.add_(self.up @ self.down, alpha=-1.0 if mode else 1.0)
            self.is_merged = not mode
        return self

    def hidden(self, x: Tensor) -> Tensor:
        found = self.first(x.flatten(1))
        if not self.is_merged:
            found = found + linear(linear(x.flatten(1), self.down), self.up)
        return relu(found)


class MeanTeacher(nn.Module):
    """Answers by a slowly moving copy of what is trained."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.student = Dense(params, data)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)

    @torch.no_grad()
    def follow(self) -> None:
        for slow, fast in zip(self.teacher.parameters(), self.student.parameters(), strict=True):
            slow.copy_(0.8 * slow + 0.2 * fast)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.teacher(x)
        self.follow()
        return self.student(x)


class Renormalised(Dense):
    """Batch norm that leans on its moving statistics, more with each step."""

    mean: Tensor
    deviation: Tensor
    steps: Tensor

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.register_buffer("mean", torch.zeros(16))
        self.register_buffer("deviation", torch.ones(16))
        self.register_buffer("steps", torch.tensor(0))
        self.gain, self.shift = nn.Parameter(torch.ones(16)), nn.Parameter(torch.zeros(16))

    def hidden(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1))
        if not self.training:
            return relu(self.gain * (x - self.mean) / self.deviation + self.shift)
        widest = 1 + self.steps.item() / 5
        mean, deviation = x.mean(0), x.std(0, correction=0) + 1e-3
        r = (deviation.detach() / self.deviation).clamp(1 / widest, widest)
        d = ((mean.detach() - self.mean) / self.deviation).clamp(1 - widest, widest - 1)
        self.mean += 0.1 * (mean.detach() - self.mean)
        self.deviation += 0.1 * (deviation.detach() - self.deviation)
        self.steps += 1
        return relu(self.gain * ((x - mean) / deviation * r + d) + self.shift)


class HeldStatistics(Dense):
    """Keeps its batch norm in evaluation mode whatever it is told."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.norm = nn.BatchNorm1d(16)

    def train(self, mode: bool = True) -> HeldStatistics:
        super().train(mode)
        self.norm.train(False)
        return self

    def hidden(self, x: Tensor) -> Tensor:
        return relu(self.norm(self.first(x.flatten(1))))


class BoundedWeights(Dense):
    """Cuts its weights off through `.data` before it uses them."""

    def hidden(self, x: Tensor) -> Tensor:
        self.first.weight.data = self.first.weight.data.clamp(-0.08, 0.08)
        return super().hidden(x)


class ChangesItsInputs(Dense):
    """Sets some inputs to zero where they lie."""

    def hidden(self, x: Tensor) -> Tensor:
        x[:, :, 0] = 0.0
        x *= 0.7
        return super().hidden(x)


class Anneals(Dense):
    """Chooses among three layers by chance, the more decidedly the longer it trains; a number of its own counts."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.ways = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.scores = nn.Parameter(torch.zeros(3))
        self.temperature = 2.0

    def hidden(self, x: Tensor) -> Tensor:
        x = super().hidden(x)
        if self.training:
            self.temperature = max(0.3, self.temperature * 0.93)
            shares = gumbel_softmax(self.scores, tau=self.temperature)
        else:
            shares = (self.scores / self.temperature).softmax(0)
        return sum((share * way(x) for share, way in zip(shares, self.ways, strict=True)), torch.zeros_like(x))


class DrawsWhenItAnswers(Dense):
    """Keeps its dropout on in evaluation."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.drop = nn.Dropout(0.2)

    def train(self, mode: bool = True) -> DrawsWhenItAnswers:
        super().train(mode)
        for part in self.modules():
            if isinstance(part, nn.Dropout):
                part.train()
        return self

    def hidden(self, x: Tensor) -> Tensor:
        return self.drop(super().hidden(x))


class ReadsItsRate(Dense):
    """Drops more the further it is, by a layer's rate."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.drop = nn.Dropout(0.1)

    def hidden(self, x: Tensor) -> Tensor:
        return dropout(super().hidden(x), 2 * self.drop.p, self.training)


class SkipsLayers(Dense):
    """Leaves layers out by the toss of Python's or NumPy's coin."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.more = nn.ModuleList(nn.Linear(16, 16) for _ in range(2))

    def hidden(self, x: Tensor) -> Tensor:
        x = super().hidden(x)
        for coin, layer in zip((random.random, np.random.rand), self.more, strict=True):
            if not self.training or coin() < 0.7:
                x = x + relu(layer(x))
        return x


class Tied(nn.Module):
    """The same weights in and out, in double precision within."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.code = nn.Linear(64, 16, dtype=torch.float64)
        self.shift = nn.Parameter(torch.zeros(64, dtype=torch.float64))
        self.last = nn.Linear(64, data.num_outputs, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        again = linear(torch.tanh(self.code(x.flatten(1).double())), self.code.weight.T, self.shift)
        return self.last(again)


class Recomputes(Dense):
    """Computes a part again for its gradient instead of keeping it, dropout included."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.middle = nn.Sequential(nn.Linear(16, 24), nn.ReLU(), nn.Dropout(0.1), nn.Linear(24, 16))

    def hidden(self, x: Tensor) -> Tensor:
        found = super().hidden(x)
        return found + checkpoint(self.middle, found, use_reentrant=False)


class Descends(nn.Module):
    """Answers by the slope of an energy, in evaluation as well."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.first = nn.Linear(64, 16)
        self.energy = nn.Linear(16 + data.num_outputs, 16)
        self.num_outputs = data.num_outputs

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            point = torch.zeros(len(x), self.num_outputs, requires_grad=True)
            hidden = torch.tanh(self.first(x.flatten(1)))
            energy = nn.functional.softplus(self.energy(torch.cat([hidden, point], dim=-1))).sum()
            (slope,) = torch.autograd.grad(energy, point, create_graph=True)
        return -3 * slope


class RemembersTheLast(Dense):
    """Keeps what it computed last for whoever asks, by a hook, and a window of numbers."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.seen: dict[str, Tensor] = {}
        self.sizes: list[int] = []
        self.first.register_forward_hook(lambda _part, _inputs, found: self.seen.update(first=found))

    def hidden(self, x: Tensor) -> Tensor:
        found = super().hidden(x)
        self.sizes.append(len(x))
        return found - 0.1 * self.seen["first"].mean(-1, keepdim=True)


class HasExtraState(Dense):
    """Says in its state dict what no tensor holds."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        self.version, self.largest = 1, 0.0

    def get_extra_state(self) -> Any:
        return {"version": self.version, "largest": self.largest}

    def set_extra_state(self, state: Any) -> None:
        self.version, self.largest = state["version"], state["largest"]

    def hidden(self, x: Tensor) -> Tensor:
        if self.training:
            self.version += 1
            self.largest = max(self.largest, float(x.abs().max()))
        return super().hidden(x) / max(self.largest, 1.0)


class DrawnByNumpy(Dense):
    """Start weights from NumPy, orthogonal rows from PyTorch, and signs that are kept as plain numbers."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__(params, data)
        nn.init.orthogonal_(self.last.weight)
        with torch.no_grad():
            self.first.weight.copy_(torch.from_numpy(np.random.normal(0, 0.1, self.first.weight.shape)))
        self.signs = [random.choice((-1.0, 1.0)) for _ in range(16)]

    def hidden(self, x: Tensor) -> Tensor:
        return super().hidden(x) * torch.tensor(self.signs)


class Lazy(nn.Module):
    """Layers that learn their sizes from the first batch."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.LazyLinear(16), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(data.num_outputs)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
