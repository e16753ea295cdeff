"""Recording a whole network on a tape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from tuner.models.layers.images import Convolution
from tuner.models.layers.layer import DropoutInputs, Layer, LayerRows, Weights
from tuner.models.layers.tape import Tape
from tuner.models.layers.widths import rounded_width
from tuner.models.network import Network


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkParts:
    """What a network computes with, besides its input."""

    rounded: Network
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
    forks: list[tuple[Tensor, list[Tensor]]] = []
    below: Layer | None = None
    for index, layer in enumerate(parts.rounded.layers):
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
        )
        x = layer.record(x, rows)
        below = layer
    return x


def _unit_mask(parts: NetworkParts, index: int, device: torch.device) -> Tensor:
    """1 for the units that each trial's own network has below a layer, 0 for those that rounding added.

    Shape (K, 1, F) behind a dense layer; 1 behind a convolution, whose channels are not rounded.
    """
    below = next(i for i in range(index, -1, -1) if parts.rounded.layers[i].units is not None)
    if isinstance(parts.rounded.layers[below], Convolution):
        return torch.ones((), device=device)
    own_K = torch.tensor([network.layers[below].units for network in parts.own])
    units_F = torch.arange(rounded_width(int(own_K.max())))
    return (units_F < own_K[:, None, None]).float().to(device)
