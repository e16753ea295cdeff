"""The training examples as the stacked program takes them: at rounded widths."""

from __future__ import annotations

import torch
from torch import Tensor

from tuner.models.layers.dense import Dense
from tuner.models.layers.images import Convolution
from tuner.models.layers.widths import rounded_width
from tuner.models.network import Network
from tuner.train.program import Problem, class_shares


def first_shape(problem: Problem, network: Network) -> tuple[int, ...]:
    """The shape of an example as the first layer takes it: flat at the rounded width, or an image as it is."""
    first = next(layer for layer in network.layers if isinstance(layer, Dense | Convolution))
    return tuple(problem.train.inputs.shape[1:]) if isinstance(first, Convolution) else (first.inputs,)


def targets_table(targets: Tensor, *, problem: Problem) -> Tensor:
    """Targets as float rows of the rounded width: one-hot for cross entropy."""
    num_outputs = problem.num_outputs
    width = rounded_width(num_outputs)
    if problem.loss == "cross_entropy":
        return class_shares(targets, width)
    return torch.nn.functional.pad(targets.float().view(len(targets), num_outputs), (0, width - num_outputs))
