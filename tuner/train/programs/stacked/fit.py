"""A trial's state as that of its own network, whatever shape it is trained in: so it goes on in any company."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from tuner.models.common import Common
from tuner.models.layers.layer import Parameter
from tuner.models.layers.norms import Norm
from tuner.models.network import Network
from tuner.train.program import RowState
from tuner.train.rows.rows import RowLayout

_OF_LAYER = re.compile(r"(?P<kept_as>\D*)(?P<layer>\d+)\.(?P<name>.*)")
"""The name of a layer's buffer; all else in a state is parameters, or something of each of them."""


class RowFit:
    """Where a trial's own parameters are in the rows of the shape that it is trained in."""

    def __init__(self, common: Common, row: int, network: Network) -> None:
        """Look.

        Args:
            common: The shape.
            row: Of the trial.
            network: Its own.
        """
        self._shape, self._places = common.network, common.places[row]
        self._own = network.rounded()
        at = {(p.layer, p.name): p for p in self._shape.parameters()}
        self.parameters: list[Parameter] = [at[self._places[p.layer], p.name] for p in self._own.parameters()]
        """Those of the shape that the network has, in its order."""
        layout, own = RowLayout(self._shape.parameters()), RowLayout(self._own.parameters())
        self._length, self._own_length = layout.length, own.length
        numbers_1P, found_1P = torch.arange(1, layout.length + 1)[None], torch.zeros(1, own.length, dtype=torch.int64)
        for place, parameter in zip(self.parameters, self._own.parameters(), strict=True):
            part = tuple(slice(0, size) for size in parameter.shape)
            own.view(found_1P, parameter)[0].copy_(layout.view(numbers_1P, place)[0][part])
        self._in_own = found_1P[0].nonzero()[:, 0]
        self._in_shape = found_1P[0][self._in_own] - 1

    def narrowed(self, state: Mapping[str, Tensor]) -> RowState:
        """The state of the trial's own network, from what its row of the shape holds; on the host."""
        found: RowState = {}
        for name, tensor in state.items():
            if (buffer := _OF_LAYER.fullmatch(name)) is None:
                found[name] = torch.zeros(self._own_length)
                found[name][self._in_own] = tensor[self._in_shape]
            elif (place := int(buffer["layer"])) in self._places:
                layer = self._places.index(place)
                found[f"{buffer['kept_as']}{layer}.{buffer['name']}"] = tensor[: self._features(layer)].clone()
        return found

    def widened(self, state: Mapping[str, Tensor], names: Iterable[str]) -> RowState:
        """What the row of the shape is to hold, from the state of the trial's own network.

        Args:
            state: On any device.
            names: Of what a row holds.
        """
        found: RowState = {}
        for name in names:
            if (buffer := _OF_LAYER.fullmatch(name)) is None:
                found[name] = torch.zeros(self._length)
                found[name][self._in_shape] = state[name].cpu()[self._in_own]
                continue
            place = int(buffer["layer"])
            norm = self._shape.layers[place]
            assert isinstance(norm, Norm)
            found[name] = torch.full((norm.features,), norm.statistics[buffer["name"]])
            if place in self._places:
                own = state[f"{buffer['kept_as']}{self._places.index(place)}.{buffer['name']}"]
                found[name][: len(own)] = own.cpu()
        return found

    def _features(self, layer: int) -> int:
        norm = self._own.layers[layer]
        assert isinstance(norm, Norm)
        return norm.features
