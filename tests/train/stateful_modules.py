"""Modules of users that keep something besides weights: what a pause, a crash or an export must not lose."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Net(nn.Module):
    """Two dense layers on flattened inputs."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__()
        self.first = nn.Linear(math.prod(data.input_shape), 16)
        self.last = nn.Linear(16, data.num_outputs)

    def hidden(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.first(inputs.flatten(1)))

    def forward(self, inputs: Tensor) -> Tensor:
        answer: Tensor = self.last(self.hidden(inputs))
        return answer


class Cools(Net):
    """A temperature of its own, which falls with each training step and is kept for evaluation."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__(params, data)
        self.temperature = 3.0

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.temperature = 1.0 + (self.temperature - 1.0) * 0.9
        return super().forward(inputs) / self.temperature


class Remembers(Net):
    """A window of past losses in a deque, a table in a dict, and a running tensor that is no buffer."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__(params, data)
        self.window: deque[float] = deque([1.0], maxlen=3)
        self.table: dict[str, Any] = {"steps": 0, "sizes": []}
        self.centre = torch.zeros(16)

    def hidden(self, inputs: Tensor) -> Tensor:
        hidden = super().hidden(inputs)
        if self.training:
            mean = hidden.detach().mean(dim=0)
            self.window.append(float(mean.mean()))
            self.table["steps"] += 1
            self.table["sizes"].append(len(inputs))
            self.centre = 0.9 * self.centre + 0.1 * mean
        return hidden - self.centre * (1 + 0.01 * self.table["steps"]) + 0.1 * sum(self.window)


class DrawsItself(Net):
    """Noise from generators of its own."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__(params, data)
        self.noise = torch.Generator().manual_seed(int(torch.randint(1000, ())))
        self.coins = np.random.default_rng(3)

    def hidden(self, inputs: Tensor) -> Tensor:
        hidden = super().hidden(inputs)
        if not self.training:
            return hidden
        return hidden + torch.randn(hidden.shape, generator=self.noise) * 0.1 * self.coins.random()


class Versioned(Net):
    """Extra state, which is no tensor."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__(params, data)
        self.steps = 0

    def get_extra_state(self) -> Any:
        return {"version": 3, "steps": self.steps}

    def set_extra_state(self, state: Any) -> None:
        self.steps = state["steps"]

    def hidden(self, inputs: Tensor) -> Tensor:
        self.steps += self.training
        return super().hidden(inputs) * (1 + math.exp(-self.steps / 10))


class Merges(Net):
    """A low-rank update that is added to the weight for evaluation and taken out again for training."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__(params, data)
        self.down = nn.Parameter(torch.randn(4, 16) * 0.3)
        self.up = nn.Parameter(torch.randn(data.num_outputs, 4) * 0.3)
        self.merged = False

    def train(self, mode: bool = True) -> Merges:
        super().train(mode)
        if mode == self.merged:
            self.last.weight.data += (-1 if mode else 1) * (self.up @ self.down)
            self.merged = not mode
        return self

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.hidden(inputs)
        answer: Tensor = self.last(hidden)
        return answer if self.merged else answer + hidden @ self.down.T @ self.up.T


class FrozenNorm(Net):
    """Batch norm that is kept in evaluation mode from the second epoch on."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__(params, data)
        self.norm = nn.BatchNorm1d(16)
        self.begun = 0

    def train(self, mode: bool = True) -> FrozenNorm:
        super().train(mode)
        self.begun += mode
        if self.begun > 1:
            self.norm.eval()
        return self

    def hidden(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.norm(self.first(inputs.flatten(1))))


class CountsAnswers(Net):
    """Counts its passes, those of evaluation as well, in a buffer and in a number."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__(params, data)
        self.passes = 0
        self.register_buffer("rows", torch.zeros((), dtype=torch.long))

    def hidden(self, inputs: Tensor) -> Tensor:
        self.passes += 1
        self.rows += len(inputs)
        return super().hidden(inputs) * (1 + math.exp(-self.passes / 10)) + 1e-4 * self.rows


class KeepsItsPass(Net):
    """Its last hidden units, with the graph that they came from, alone and in a list."""

    def hidden(self, inputs: Tensor) -> Tensor:
        self.units = super().hidden(inputs)
        self.maps = [self.units, {"mean": self.units.mean()}]
        return self.units


RESTORED = (KeepsItsPass, Cools, Remembers, DrawsItself, Versioned, Merges, FrozenNorm, CountsAnswers)
"""Those whose state can be written down."""


class Clock:
    """An object of the user's own."""

    def __init__(self) -> None:
        self.ticks = 0


class KeepsAnObject(Net):
    """Its step counter is an object that no file can hold."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__(params, data)
        self.clock = Clock()

    def hidden(self, inputs: Tensor) -> Tensor:
        self.clock.ticks += self.training
        return super().hidden(inputs) * (1 + math.exp(-self.clock.ticks / 10))


class HidesATeacher(Net):
    """An average of itself in a list, where no state dict finds it."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__(params, data)
        self.teacher = [Net(params, data)]

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return self.teacher[0](inputs)  # type: ignore[no-any-return]
        with torch.no_grad():
            for own, other in zip(Net.parameters(self), self.teacher[0].parameters(), strict=True):
                other.lerp_(own, 0.1)
        return super().forward(inputs)


UNSAVED = (KeepsAnObject, HidesATeacher)
"""Those whose state cannot."""
