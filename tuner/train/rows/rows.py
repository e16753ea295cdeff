"""Parameters of many trials as rows of one tensor.

A row holds the decayed parameters (weights) first and the others behind; both parts are `padded` with zeros, so that
vector instructions never meet a remainder whose place would depend on the number of rows: what is computed for a trial
is bit-equal whoever its neighbours are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tuner.models.layers.layer import Parameter
from tuner.models.layers.widths import padded, rounded_width

NO_CLASS = -1e9
"""Bias of the outputs that rounding adds to a classifier: their probability and their gradient are exactly zero."""


class RowLayout:
    """Where each parameter lies in a row."""

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        self.parameters = tuple(parameters)
        self._offset: dict[Parameter, int] = {}
        end = 0
        for decayed in (True, False):
            for parameter in self.parameters:
                if parameter.decayed is decayed:
                    self._offset[parameter] = end
                    end += rounded_width(math.prod(parameter.shape))
            end = padded(end)
            if decayed:
                self.num_decayed = end
                """Length of the part that L2 and L1 apply to."""
        self.length = end

    def view(self, rows_KP: Tensor, parameter: Parameter) -> Tensor:
        """A parameter of all trials, shape (trials, *shape), sharing memory with the rows."""
        start = self._offset[parameter]
        part = rows_KP[:, start : start + math.prod(parameter.shape)]
        return part.view(len(rows_KP), *parameter.shape)

    def pack(
        self,
        values: Mapping[Parameter, Tensor],
        *,
        places: Sequence[Parameter] | None = None,
        added_outputs: float = 0.0,
    ) -> Tensor:
        """One trial's parameters as a row of shape (length,).

        Args:
            values: In the order of their places; a tensor may be smaller than its place, and what is over is zero.
            places: The parameters of the layout whose places they take; all of them if left out.
            added_outputs: What is over in the last parameter, the bias of the outputs.
        """
        row = torch.zeros(1, self.length)
        for place, (parameter, value) in zip(places or self.parameters, values.items(), strict=True):
            target = self.view(row, place)[0]
            if place == self.parameters[-1]:
                target.fill_(added_outputs)
            target[_within(parameter)] = value
        return row[0]

    def unpack(
        self, row_P: Tensor, parameters: Sequence[Parameter], *, places: Sequence[Parameter] | None = None
    ) -> dict[Parameter, Tensor]:
        """The inverse of `pack`: the parameters of one row, in their own shapes."""
        rows = row_P.unsqueeze(0)
        return {
            parameter: self.view(rows, place)[0][_within(parameter)]
            for place, parameter in zip(places or self.parameters, parameters, strict=True)
        }


def module_parameters(module: nn.Module) -> list[Parameter]:
    """A module's parameters in the rows' terms; L2 and L1 apply to the weights that are trained."""
    return [
        Parameter(index, name, tuple(p.shape), trained=p.requires_grad)
        for index, (name, p) in enumerate(module.named_parameters())
    ]


def _within(parameter: Parameter) -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in parameter.shape)
