"""A user's own MLP, for `throughput.py --model module`."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from torch import nn

from tuner.data.dataset import DataInfo


def factory(params: Mapping[str, Any], data: DataInfo) -> nn.Module:
    """The network of the baselines."""
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = prod(data.input_shape)
    for _ in range(params["hidden_layers"]):
        layers += [nn.Linear(inputs, params["hidden_units"]), nn.ReLU(), nn.Dropout(params["dropout"])]
        inputs = params["hidden_units"]
    return nn.Sequential(*layers, nn.Linear(inputs, data.num_outputs))
