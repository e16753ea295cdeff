"""Modules whose forward works for one trial at a time, each by another means of the library's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tuner.data.dataset import DataInfo


class Base(nn.Module):
    """Two layers, and something between them."""

    def __init__(self, params: Mapping[str, Any], data: DataInfo) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 8), nn.Linear(8, data.num_outputs)
        self.part = self.made()

    def made(self) -> nn.Module:
        return nn.Tanh()

    def between(self, x: Tensor) -> Tensor:
        return self.part(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.between(self.first(x.flatten(1))))


class Recurrent(Base):
    def made(self) -> nn.Module:
        return nn.GRU(8, 8)

    def between(self, x: Tensor) -> Tensor:
        return self.part(x)[0]


class Cell(Base):
    def made(self) -> nn.Module:
        return nn.LSTMCell(8, 8)

    def between(self, x: Tensor) -> Tensor:
        return self.part(x)[0]


class Scripted(Base):
    def made(self) -> nn.Module:
        return torch.jit.script(nn.Linear(8, 8))


class Recomputes(Base):
    """In the older of two ways."""

    def between(self, x: Tensor) -> Tensor:
        if not self.training:
            return self.part(x)
        return checkpoint(self.part, x, use_reentrant=True)


class TakesSlopes(Base):
    def between(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            return x + torch.autograd.grad(self.part(point).sum(), point)[0]


class TakesSlopesOfAFunction(Base):
    def between(self, x: Tensor) -> Tensor:
        return torch.autograd.functional.vjp(self.part, x, torch.ones_like(x), create_graph=True)[1]


class Hooked(Base):
    """Hooks itself anew in each pass."""

    def between(self, x: Tensor) -> Tensor:
        self.part.register_forward_hook(lambda *_: None)
        return self.part(x)


class LooksWhereItsValuesLie(Base):
    def between(self, x: Tensor) -> Tensor:
        assert x.untyped_storage().nbytes() > 0
        return self.part(x)
