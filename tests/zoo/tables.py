"""Small networks in the styles of those that are published for tables: features in, logits out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, one_hot, relu, silu

from tuner.records import DataInfo

Params = Mapping[str, Any]


class Attending(nn.Module):
    """Self-attention of several heads, without a library's kernel."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        parts = self.project(tokens).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = parts[0], parts[1], parts[2]
        shares = (queries @ keys.transpose(-1, -2) / math.sqrt(queries.shape[-1])).softmax(dim=-1)
        return self.merge((shares @ values).transpose(1, 2).flatten(2))


class FeatureTokens(nn.Module):
    """A token for each group of features and one that gathers the answer, through blocks of attention."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(16, 4, 8) * 0.2)
        self.shift = nn.Parameter(torch.zeros(16, 8))
        self.answer = nn.Parameter(torch.randn(8) * 0.2)
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(3))
        self.attend = Attending(8, 2)
        self.widen, self.narrow = nn.Linear(8, 24), nn.Linear(12, 8)
        self.last = nn.Linear(8, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.einsum("bgf,gfd->bgd", x.reshape(len(x), 16, 4), self.scale) + self.shift
        tokens = torch.cat([self.answer.expand(len(x), 1, -1), tokens], dim=1)
        tokens = tokens + self.attend(self.norms[0](tokens))
        left, right = self.widen(self.norms[1](tokens)).chunk(2, dim=-1)
        tokens = tokens + self.narrow(left * relu(right))
        return self.last(relu(self.norms[2](tokens[:, 0])))


class ResidualTable(nn.Module):
    """Blocks of batch norm, two layers and dropout around a sum."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        rate = float(params.get("dropout", 0.1))
        self.first = nn.Linear(math.prod(data.input_shape), 16)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm1d(16), nn.Linear(16, 32), nn.ReLU(), nn.Dropout(rate), nn.Linear(32, 16), nn.Dropout(rate)
            )
            for _ in range(2)
        )
        self.last = nn.Sequential(nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, data.num_outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1))
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


class GhostNorm(nn.Module):
    """Batch norm over parts of a batch."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.norm = nn.BatchNorm1d(width, momentum=0.05)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.norm(x)
        return torch.cat([self.norm(part) for part in x.chunk(math.ceil(len(x) / self.size))])


def sparse_shares(scores: Tensor) -> Tensor:
    """Shares that add up to one, most of them zero: the nearest such point."""
    ordered = scores.sort(dim=-1, descending=True).values
    sums = ordered.cumsum(dim=-1) - 1
    counts = torch.arange(1, scores.shape[-1] + 1, device=scores.device)
    within = (counts * ordered > sums).sum(dim=-1, keepdim=True)
    return relu(scores - sums.gather(-1, within - 1) / within)


class ChoosesFeatures(nn.Module):
    """Steps that each choose features, fewer of those that an earlier one chose, with ghost batch norm."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        size, few = math.prod(data.input_shape), int(params.get("norm_examples", 8))
        self.norm = nn.BatchNorm1d(size)
        self.start = nn.Linear(size, 16)
        self.choose = nn.ModuleList(nn.Sequential(nn.Linear(8, size), GhostNorm(size, few)) for _ in range(2))
        self.look = nn.ModuleList(nn.Sequential(nn.Linear(size, 32), GhostNorm(32, few)) for _ in range(2))
        self.last = nn.Linear(8, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x.flatten(1))
        prior = torch.ones_like(x)
        state = glu(self.start(x))
        found = torch.zeros_like(state)
        for choose, look in zip(self.choose, self.look, strict=True):
            shares = sparse_shares(choose(state) * prior)
            prior = prior * (1.3 - shares)
            answer, state = glu(look(shares * x)).chunk(2, dim=-1)
            found = found + relu(answer)
        return self.last(found)


class Factorised(nn.Module):
    """A linear part, all pairs of features by their factors, and a deep part on the same factors."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        size, outputs = math.prod(data.input_shape), data.num_outputs
        self.linear = nn.Linear(size, outputs)
        self.factors = nn.Parameter(torch.randn(size, 4) * 0.1)
        self.pairs = nn.Linear(4, outputs, bias=False)
        self.deep = nn.Sequential(nn.Linear(size * 4, 16), nn.ReLU(), nn.Linear(16, outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        weighted = x.unsqueeze(-1) * self.factors
        pairs = 0.5 * (weighted.sum(1).square() - weighted.square().sum(1))
        return self.linear(x) + self.pairs(pairs) + self.deep(weighted.flatten(1))


class Crossing(nn.Module):
    """Layers that multiply the inputs with what the last one made of them."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        size = math.prod(data.input_shape)
        self.down = nn.ModuleList(nn.Linear(size, 6, bias=False) for _ in range(2))
        self.up = nn.ModuleList(nn.Linear(6, size) for _ in range(2))
        self.last = nn.Linear(size, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        first = crossed = x.flatten(1)
        for down, up in zip(self.down, self.up, strict=True):
            crossed = crossed + first * up(down(crossed))
        return self.last(crossed)


class Experts(nn.Module):
    """Two of four experts for each example; how unevenly they are used is kept as a loss."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        size = math.prod(data.input_shape)
        self.gate = nn.Linear(size, 4)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(size, 12), nn.GELU(), nn.Linear(12, data.num_outputs)) for _ in range(4)
        )
        self.imbalance = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        shares = self.gate(x).softmax(dim=-1)
        best, chosen = shares.topk(2, dim=-1)
        weights = torch.zeros_like(shares).scatter(-1, chosen, best / best.sum(dim=-1, keepdim=True))
        used = one_hot(chosen[:, 0], 4).float().mean(0)
        self.imbalance = 4 * (used * shares.mean(0)).sum()
        answers = torch.stack([expert(x) for expert in self.experts], dim=-1)
        return (answers * weights.unsqueeze(1)).sum(-1)


class Splines(nn.Module):
    """A cubic spline on each edge between the layers, and a smooth function beside it."""

    knots: Tensor

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        sizes = (math.prod(data.input_shape), 8, data.num_outputs)
        self.register_buffer("knots", torch.linspace(-3.5, 3.5, 12))
        self.smooth = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.weights = nn.ParameterList(torch.randn(b, a, 8) * 0.05 for a, b in pairwise(sizes))

    def basis(self, x: Tensor) -> Tensor:
        """Values of the cubic pieces, shape (examples, features, 8)."""
        x, knots = x.unsqueeze(-1), self.knots
        found = ((x >= knots[:-1]) & (x < knots[1:])).to(x.dtype)
        for degree in range(1, 4):
            rise = (x - knots[: -degree - 1]) / (knots[degree:-1] - knots[: -degree - 1])
            fall = (knots[degree + 1 :] - x) / (knots[degree + 1 :] - knots[1:-degree])
            found = rise * found[..., :-1] + fall * found[..., 1:]
        return found

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for smooth, weights in zip(self.smooth, self.weights, strict=True):
            x = smooth(silu(x)) + torch.einsum("bif,oif->bo", self.basis(x), weights)
        return x


class SoftTrees(nn.Module):
    """Trees with one test at each depth, answered by shares; the first batch sets where they split."""

    begun: Tensor

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        size = math.prod(data.input_shape)
        self.tests = nn.Parameter(torch.randn(6, 3, size) * 0.2)
        self.borders = nn.Parameter(torch.zeros(6, 3))
        self.leaves = nn.Parameter(torch.randn(6, 8, data.num_outputs) * 0.3)
        self.register_buffer("begun", torch.tensor(False))

    def forward(self, x: Tensor) -> Tensor:
        values = torch.einsum("bi,tdi->btd", x.flatten(1), self.tests.softmax(dim=-1))
        if self.training and not self.begun:
            self.borders.data.copy_(values.median(dim=0).values)
            self.begun.fill_(True)
        sides = torch.sigmoid(4 * (values - self.borders))
        shares = torch.ones_like(sides[..., :1])
        for depth in range(3):
            side = sides[..., depth : depth + 1]
            shares = torch.cat([shares * side, shares * (1 - side)], dim=-1)
        return torch.einsum("btl,tlo->bo", shares, self.leaves)


class RandomWaves(nn.Module):
    """Sines and cosines of random directions, which are drawn once and are in no state dict."""

    directions: Tensor

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.register_buffer("directions", torch.randn(math.prod(data.input_shape), 16) * 0.2, persistent=False)
        self.phases = torch.rand(16) * math.tau
        self.last = nn.Linear(32, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        waves = x.flatten(1) @ self.directions + self.phases
        return self.last(torch.cat([waves.sin(), waves.cos()], dim=-1))


class DeepSet(nn.Module):
    """The rows of a picture as a set: each by itself, then pooled three ways."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(data.input_shape[-1], 16), nn.ELU(), nn.Linear(16, 12), nn.ELU())
        self.all = nn.Sequential(nn.Linear(36, 16), nn.ELU(), nn.Linear(16, data.num_outputs))

    def forward(self, x: Tensor) -> Tensor:
        rows = self.each(x.squeeze(1))
        return self.all(torch.cat([rows.mean(1), rows.amax(1), rows.std(1)], dim=-1))


class Highway(nn.Module):
    """Gates that say how much of a layer's input passes it by."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.first = nn.Linear(math.prod(data.input_shape), 16)
        self.changes = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        self.gates = nn.ModuleList(nn.Linear(16, 16) for _ in range(3))
        for gate in self.gates:
            nn.init.constant_(gate.bias, -1.0)
        self.last = nn.Linear(16, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1)).tanh()
        for change, gate in zip(self.changes, self.gates, strict=True):
            share = gate(x).sigmoid()
            x = share * relu(change(x)) + (1 - share) * x
        return self.last(x)
