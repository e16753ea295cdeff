"""What users' modules ask for and return besides one tensor."""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

import torch
from torch import Tensor, nn

Answer = namedtuple("Answer", ["logits", "hidden"])


class Net(nn.Module):
    def __init__(self, params: Any, data: Any) -> None:
        super().__init__()
        self.first = nn.Linear(math.prod(data.input_shape), 16)
        self.last = nn.Linear(16, data.num_outputs)

    def hidden(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.first(inputs.flatten(1)))

    def forward(self, inputs: Tensor) -> Any:
        return self.last(self.hidden(inputs))


class AMapping(Net):
    def forward(self, inputs: Tensor) -> Any:
        return {"hidden": self.hidden(inputs), "logits": super().forward(inputs)}


class ATuple(Net):
    def forward(self, inputs: Tensor) -> Any:
        return self.hidden(inputs), super().forward(inputs)


class ANamedTuple(Net):
    def forward(self, inputs: Tensor) -> Any:
        return Answer(super().forward(inputs), self.hidden(inputs))


class Lazy(nn.Module):
    def __init__(self, params: Any, data: Any) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.LazyBatchNorm1d(), nn.LazyLinear(10))

    def forward(self, inputs: Tensor) -> Any:
        return self.layers(inputs)


class Sparse(nn.Module):
    """A bag of pixels: each that is bright looks up a row."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__()
        self.rows = nn.EmbeddingBag(64, data.num_outputs, sparse=True, mode="sum")
        nn.init.normal_(self.rows.weight, std=0.01)

    def forward(self, inputs: Tensor) -> Any:
        places = torch.arange(64).expand(len(inputs), 64)
        return self.rows(places, per_sample_weights=inputs.flatten(1))


class Balanced(Net):
    """Leaves a penalty of its last pass."""

    def forward(self, inputs: Tensor) -> Any:
        hidden = self.hidden(inputs)
        self.penalty = 0.1 * hidden.square().mean()
        return self.last(hidden)


class ByName(nn.Module):
    """Two inputs, by name."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__()
        self.left = nn.Linear(2, 8)
        self.right = nn.Linear(3, 8)
        self.last = nn.Linear(16, data.num_outputs)

    def forward(self, colours: Tensor, sizes: Tensor) -> Any:
        both = torch.cat([self.left(sizes), self.right(colours)], dim=1)
        return self.last(torch.relu(both))


class ByPlace(ByName):
    def forward(self, first: Tensor, second: Tensor) -> Any:
        return super().forward(colours=second, sizes=first)


class InUnits(nn.Module):
    """Answers in the target's own units, near its mean from the start."""

    def __init__(self, params: Any, data: Any) -> None:
        super().__init__()
        self.last = nn.Linear(data.input_shape[0], 1)
        nn.init.constant_(self.last.bias, 150.0)

    def forward(self, inputs: Tensor) -> Any:
        return self.last(inputs)


class Tokens(nn.Module):
    def __init__(self, params: Any, data: Any) -> None:
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.last = nn.Linear(8, data.num_outputs)

    def forward(self, inputs: Tensor) -> Any:
        return self.last(self.words(inputs.long()).mean(dim=1))
