"""Small networks in the styles of those that are published for pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, max_pool1d, relu
from torch.nn.utils.parametrizations import spectral_norm

from tuner.records import DataInfo

Params = Mapping[str, Any]


class Inverted(nn.Module):
    """Widened, filtered channel by channel, weighed by what they hold, narrowed; left out by chance, each example's."""

    def __init__(self, width: int, survival: float) -> None:
        super().__init__()
        inner = 2 * width
        self.survival = survival
        self.widen = nn.Sequential(nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.SiLU())
        self.filter = nn.Sequential(
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.SiLU()
        )
        self.weigh = nn.Sequential(nn.Conv2d(inner, 2, 1), nn.SiLU(), nn.Conv2d(2, inner, 1), nn.Sigmoid())
        self.narrow = nn.Sequential(nn.Conv2d(inner, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        found = self.filter(self.widen(x))
        found = self.narrow(found * self.weigh(found.mean((2, 3), keepdim=True)))
        if self.training:
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) < self.survival
            found = found * kept / self.survival
        return x + found


class Mobile(nn.Module):
    """Two such blocks."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6), nn.SiLU())
        self.blocks = nn.Sequential(Inverted(6, 0.9), Inverted(6, 0.7))
        self.last = nn.Linear(6, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.blocks(self.stem(x)).mean((2, 3)))


class HourGlass(nn.Module):
    """Down and up again along a line, with what was seen on the way down laid beside."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.down = nn.ModuleList([nn.Conv1d(1, 4, 3, padding=1), nn.Conv1d(4, 8, 3, padding=1)])
        self.bottom = nn.Conv1d(8, 8, 3, padding=1)
        self.rise = nn.ConvTranspose1d(8, 8, 2, stride=2)
        self.up = nn.ModuleList([nn.Conv1d(16, 4, 3, padding=1), nn.Conv1d(8, 4, 3, padding=1)])
        self.norm = nn.GroupNorm(2, 4)
        self.last = nn.Linear(64 * 4, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        first = relu(self.down[0](x.flatten(2)))
        second = relu(self.down[1](max_pool1d(first, 2)))
        bottom = relu(self.bottom(max_pool1d(second, 2)))
        x = relu(self.up[0](torch.cat([self.rise(bottom), second], dim=1)))
        x = relu(self.up[1](torch.cat([interpolate(x, scale_factor=2.0), first], dim=1)))
        return self.last(self.norm(x).flatten(1))


class FourierOperator(nn.Module):
    """Complex weights on the lowest frequencies, beside a layer at each place."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.lift = nn.Linear(1, 6)
        self.spectrum = nn.Parameter(torch.randn(6, 6, 4, 3, dtype=torch.cfloat) * 0.1)
        self.beside = nn.Linear(6, 6)
        self.last = nn.Linear(6 * 64, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x.permute(0, 2, 3, 1))
        waves = torch.fft.rfft2(x.permute(0, 3, 1, 2))
        changed = torch.zeros_like(waves)
        changed[..., :4, :3] = torch.einsum("bixy,ioxy->boxy", waves[..., :4, :3], self.spectrum)
        smooth = torch.fft.irfft2(changed, s=(8, 8)).permute(0, 2, 3, 1)
        return self.last(nn.functional.gelu(smooth + self.beside(x)).flatten(1))


def squashed(vectors: Tensor) -> Tensor:
    """The same directions, with lengths below one."""
    square = vectors.square().sum(-1, keepdim=True)
    return square / (1 + square) * vectors / torch.sqrt(square + 1e-8)


class Capsules(nn.Module):
    """Vectors that agree on where they go, by rounds of routing."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.first = nn.Linear(8, 6)
        self.votes = nn.Parameter(torch.randn(8, data.num_outputs, 6, 4) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        votes = torch.einsum("bni,noid->bnod", squashed(self.first(x.squeeze(1))), self.votes)
        routes = torch.zeros_like(votes[..., 0])
        settled = votes.detach()
        for _ in range(2):
            goals = squashed((routes.softmax(-1).unsqueeze(-1) * settled).sum(1))
            routes = routes + (settled * goals.unsqueeze(1)).sum(-1)
        goals = squashed((routes.softmax(-1).unsqueeze(-1) * votes).sum(1))
        return 8 * torch.sqrt(goals.square().sum(-1) + 1e-8)


class Twins(nn.Module):
    """One encoder for two inputs, the halves of a picture, which are then compared."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 8))
        self.bilinear = nn.Bilinear(8, 8, 6)
        self.last = nn.Linear(8 + 8 + 6, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        left, right = (self.encode(half.flatten(1)) for half in x.chunk(2, dim=-1))
        return self.last(torch.cat([(left - right).abs(), left * right, self.bilinear(left, right)], dim=-1))


class SpectrallyNormed(nn.Module):
    """Layers divided by their largest singular value, which each pass of training estimates further."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.first = spectral_norm(nn.Linear(64, 16))
        self.last = spectral_norm(nn.Linear(16, data.num_outputs))
        self.scale = nn.Parameter(torch.tensor(4.0))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * self.last(nn.functional.leaky_relu(self.first(x.flatten(1)), 0.1))


class StandardisedWeights(nn.Conv2d):
    """A convolution whose filters have mean zero and length one at each pass."""

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        std = self.weight.std((1, 2, 3), keepdim=True)
        return conv2d(x, (self.weight - mean) / (std + 1e-5), self.bias, padding=self.padding)


class Standardised(nn.Module):
    """Such filters, group norm, and pools of two sizes."""

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.filters = nn.Sequential(StandardisedWeights(1, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.ReLU())
        self.last = nn.Linear(8 * 5, data.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        found = self.filters(x)
        pools = [nn.functional.adaptive_avg_pool2d(found, size).flatten(1) for size in (1, 2)]
        return self.last(torch.cat(pools, dim=-1))


class Codebook(nn.Module):
    """The nearest of a set of vectors, which move to what they stand for; gradients pass straight through."""

    codes: Tensor
    counts: Tensor

    def __init__(self, params: Params, data: DataInfo) -> None:
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 4))
        self.last = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, data.num_outputs))
        self.register_buffer("codes", torch.randn(12, 4))
        self.register_buffer("counts", torch.ones(12))

    def forward(self, x: Tensor) -> Tensor:
        found = self.encode(x.flatten(1))
        nearest = torch.cdist(found, self.codes).argmin(-1)
        if self.training:
            with torch.no_grad():
                chosen = nn.functional.one_hot(nearest, 12).float()
                self.counts.mul_(0.9).add_(chosen.sum(0), alpha=0.1)
                means = chosen.T @ found / chosen.sum(0).clamp(min=1).unsqueeze(-1)
                moved = 0.1 * chosen.sum(0).clamp(max=1).unsqueeze(-1)
                self.codes += moved * (means - self.codes)
        return self.last(found + (self.codes[nearest] - found).detach())
