"""A user's own MLP with batch norm: what the phases train as a user's module, and as it is written."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from torch import nn

from tuner.data.dataset import DataInfo, TrainingData


def normed(params: Mapping[str, Any], data: DataInfo) -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten()]
    inputs, width = prod(data.input_shape), int(params["hidden_units"])
    for _ in range(2):
        layers += [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, data.num_outputs))


def as_written(configuration: Mapping[str, Any], data: TrainingData) -> nn.Module:
    """The same for the baselines."""
    return normed(configuration, data.info)
