"""The training examples as the stacked program takes them: at rounded widths."""

from __future__ import annotations

import torch
from torch import Tensor

from tuner.models.layers.dense import Dense
from tuner.models.layers.images import Convolution
from tuner.models.layers.widths import rounded_width
from tuner.models.network import Network
from tuner.train.program import Problem, class_shares


def rounded_inputs(inputs: Tensor, network: Network) -> Tensor:
    """The examples as the first layer takes them: flat ones with zeros up to the rounded width, images as they are."""
    first = next(layer for layer in network.layers if isinstance(layer, Dense | Convolution))
    if isinstance(first, Convolution):
        return inputs.contiguous()
    flat = inputs.flatten(1)
    return torch.nn.functional.pad(flat, (0, first.inputs - flat.shape[1]))


def targets_table(problem: Problem) -> Tensor:
    """Targets as float rows of the rounded width: one-hot for cross entropy."""
    targets, num_outputs = problem.train.targets, problem.num_outputs
    width = rounded_width(num_outputs)
    if problem.loss == "cross_entropy":
        return class_shares(targets, width)
    return torch.nn.functional.pad(targets.float().view(len(targets), num_outputs), (0, width - num_outputs))
