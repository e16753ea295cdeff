"""A network of one's own, with hyperparameters of its own. See sweeps/custom_model.yaml."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from tuner.data.dataset import DataInfo
from tuner.records import ParamValue


class TwoLayerNet(nn.Module):
    """Two hidden layers of different widths, with dropout behind each."""

    def __init__(self, *, inputs: int, first_units: int, second_units: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, first_units)
        self.second = nn.Linear(first_units, second_units)
        self.output = nn.Linear(second_units, outputs)
        self.first_dropout = nn.Dropout(dropout)
        self.second_dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of shape (batch, outputs) for inputs of shape (batch, inputs)."""
        x = self.first_dropout(torch.relu(self.first(x)))
        x = self.second_dropout(torch.relu(self.second(x)))
        logits: torch.Tensor = self.output(x)
        return logits


def factory(params: Mapping[str, ParamValue], data: DataInfo) -> nn.Module:
    """The network of one trial.

    Args:
        params: Every hyperparameter of the trial by its name: those searched, those fixed, and defaults.
        data: Facts about the data set: the shape of an example, the number of outputs.
    """
    return TwoLayerNet(
        inputs=data.input_shape[0],
        first_units=int(params["first_units"]),
        second_units=int(params["second_units"]),
        outputs=data.num_outputs,
        dropout=float(params["dropout"]),
    )
