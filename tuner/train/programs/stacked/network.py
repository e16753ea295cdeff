"""Recording a whole network on a tape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from tuner.models.common import Branch, Common
from tuner.models.layers.images import Convolution
from tuner.models.layers.layer import DropoutInputs, Layer, LayerRows, Passing, Weights
from tuner.models.layers.tape import Operation, Tape
from tuner.models.layers.widths import rounded_width
from tuner.models.network import Network


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkParts:
    """What a network computes with, besides its input."""

    common: Common
    """The shape that all trials share."""
    own: Sequence[Network]
    """Each trial's network at its own widths."""
    weights: Callable[[int], Weights]
    """A layer's parameters and gradients, by its number."""
    statistics: Mapping[str, Tensor]
    """Running statistics of the norms by state-dict name, shape (K, F)."""
    dropouts: Sequence[DropoutInputs]
    """Of each dropout layer; empty if no trial drops anything."""
    first_trained: int = 0
    """Number of the lowest layer that any trial trains."""
    held: Mapping[int, Tensor] = field(default_factory=dict)
    """For norms that may be frozen, by number: whether each trial keeps their statistics; bool, (K,)."""


def record_network(tape: Tape, x: Tensor, parts: NetworkParts) -> Tensor:
    """Record a network on a tape, from an input buffer (K, B, ...) to the outputs (K, B, rounded outputs)."""
    dropouts = iter(parts.dropouts)
    forks: list[tuple[Tensor, list[Operation]]] = []
    below: Layer | None = None
    for index, layer in enumerate(parts.common.network.layers):
        if index == parts.first_trained:
            tape.backward.clear()  # what lies below is never trained
        rows = LayerRows(
            tape=tape,
            weights=parts.weights(index),
            statistics={name: parts.statistics[f"{index}.{name}"] for name in layer.statistics},
            held_K=parts.held.get(index),
            unit_mask=partial(_unit_mask, parts, index, tape.device),
            dropout=next(dropouts, None) if layer.is_random else None,
            first=index <= parts.first_trained,
            below=below,
            forks=forks,
            own_widths=partial(_own_widths, parts, index),
            passing=_passing(parts.common.branches.get(index, ()), tape.device),
        )
        x = layer.record(x, rows)
        below = layer
    return x


def _unit_mask(parts: NetworkParts, index: int, device: torch.device) -> Tensor:
    """1 for the units that each trial's own network has below a layer, 0 for those that it lacks.

    Shape (K, 1, F) behind a dense layer; 1 behind a convolution, whose channels are not rounded.
    """
    below = _layer_with_units(parts, index)
    layer = parts.common.network.layers[below]
    if isinstance(layer, Convolution):
        return torch.ones((), device=device)
    units_F = torch.arange(layer.units or 0)
    return (units_F < torch.tensor(_own_units(parts, below))[:, None, None]).float().to(device)


def _own_widths(parts: NetworkParts, index: int) -> list[int]:
    """The rounded width of each trial's own network at a layer; 0 of one that lacks it."""
    return [rounded_width(units) for units in _own_units(parts, _layer_with_units(parts, index))]


def _layer_with_units(parts: NetworkParts, index: int) -> int:
    """The number of the last layer with a weight, up to this one."""
    return next(i for i in range(index, -1, -1) if parts.common.network.layers[i].units is not None)


def _own_units(parts: NetworkParts, index: int) -> list[int]:
    """The units that each trial's own network has in a layer of the shape; 0 of one that lacks it."""
    layers = [parts.common.layer_of(row, network, index) for row, network in enumerate(parts.own)]
    return [0 if layer is None else layer.units or 0 for layer in layers]


def _passing(branches: Sequence[Branch], device: torch.device) -> Passing | None:
    if not branches:
        return None
    block, past = [float(b.is_there) for b in branches], [float(b.keeps_input) for b in branches]
    return Passing(*(torch.tensor(values, device=device).view(-1, 1, 1) for values in (block, past)))
