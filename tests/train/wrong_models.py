"""Models that cannot be trained, or that read little of what they are given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tuner.records import DataInfo

Params = Mapping[str, Any]


class Changed(nn.Module):
    """A linear layer, and what is done with its outputs."""

    def __init__(self, data: DataInfo, change: Any) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(math.prod(data.input_shape), data.num_outputs)
        self.change = change

    def forward(self, x: Tensor) -> Any:
        return self.change(self.linear(self.flatten(x)))


def five_outputs(params: Params, data: DataInfo) -> nn.Module:
    return Changed(data, lambda z: z[:, :5])


def of_the_batch(params: Params, data: DataInfo) -> nn.Module:
    return Changed(data, lambda z: z.T)


def a_pair(params: Params, data: DataInfo) -> nn.Module:
    return Changed(data, lambda z: (z, z))


def no_module(params: Params, data: DataInfo) -> int:
    return 3


def detached(params: Params, data: DataInfo) -> nn.Module:
    return Changed(data, torch.detach)


def frozen(params: Params, data: DataInfo) -> nn.Module:
    return Changed(data, nn.Identity()).requires_grad_(False)


def nan(params: Params, data: DataInfo) -> nn.Module:
    return Changed(data, lambda z: z / 0.0 * 0.0)


def broken(params: Params, data: DataInfo) -> nn.Module:
    return Changed(data, lambda z: z + torch.zeros(3))


def flat(params: Params, data: DataInfo) -> nn.Module:
    return Changed(data, lambda z: z.squeeze(1))


def reads_width(params: Params, data: DataInfo) -> nn.Module:
    assert params["width"] >= 4
    return Changed(data, nn.Identity())


def reads_by_name(params: Params, data: DataInfo) -> nn.Module:
    assert params.get("width", 0) >= 4
    return Changed(data, nn.Identity()) if "depth" in params else nn.Identity()


def reads_all(params: Params, data: DataInfo) -> nn.Module:
    def width_of(*, width: int, depth: int, **others: Any) -> int:
        return width

    assert width_of(**params) >= 4
    return Changed(data, nn.Identity())
