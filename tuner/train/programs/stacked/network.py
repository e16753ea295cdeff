"""Recording a whole network on a tape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tuner.models.activations import ACTIVATIONS
from tuner.models.layers import (
    Activation,
    BatchNorm,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Fork,
    GlobalAverage,
    Join,
    LayerNorm,
    MaxPool,
    Network,
    rounded_width,
)
from tuner.train.programs.stacked.images import emit_convolution, emit_max_pool
from tuner.train.programs.stacked.layers import (
    DropoutInputs,
    Gradients,
    Weights,
    emit_activation,
    emit_batch_norm,
    emit_dense,
    emit_dropout,
    emit_widening,
)
from tuner.train.programs.stacked.residual import Branches, emit_global_average, emit_layer_norm
from tuner.train.programs.stacked.tape import Tape


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
    """Running statistics of the batch norms by state-dict name, shape (K, F)."""
    dropouts: Sequence[DropoutInputs]
    """Of each dropout layer; empty if no trial drops anything."""
    first_trained: int = 0
    """Number of the lowest layer that any trial trains."""
    held: Mapping[int, Tensor] = field(default_factory=dict)
    """For batch norms that may be frozen, by number: whether each trial keeps their statistics; bool, (K,)."""


def emit_network(tape: Tape, grads: Gradients, x: Tensor, parts: NetworkParts) -> Tensor:
    """Record a network on a tape, from an input buffer (K, B, ...) to the outputs (K, B, rounded outputs)."""
    dropouts = iter(parts.dropouts)
    branches = Branches()
    first = True
    below: object = None
    for index, layer in enumerate(parts.rounded.layers):
        if index == parts.first_trained:
            tape.backward.clear()  # what lies below is never trained
        first = first or index <= parts.first_trained
        match layer:
            case Dense(inputs, _):
                if x.shape[2] != inputs:
                    x = emit_widening(tape, grads, x, inputs)
                x = emit_dense(tape, grads, x, parts.weights(index), first=first)
                first = False
            case Convolution():
                x = emit_convolution(tape, grads, x, parts.weights(index), first=first)
                first = False
            case BatchNorm():
                mean, var = (parts.statistics[f"{index}.running_{s}"] for s in ("mean", "var"))
                x = emit_batch_norm(tape, grads, x, parts.weights(index), mean, var, parts.held.get(index))
            case LayerNorm():
                unit_mask = _unit_mask(parts, index, tape.device)
                x = emit_layer_norm(tape, grads, x, parts.weights(index), unit_mask)
            case Fork():
                branches.fork(tape, grads, x)
            case Join():
                x = branches.join(tape, grads, x)
            case GlobalAverage():
                x = emit_global_average(tape, grads, x)
            case Activation(name):
                x = emit_activation(tape, grads, x, name, _unit_mask(parts, index, tape.device))
            case Dropout() if parts.dropouts:
                x = emit_dropout(tape, grads, x, next(dropouts), in_place=_is_in_place(below))
            case MaxPool(size):
                x = emit_max_pool(tape, grads, x, size)
            case Flatten() if x.dim() > 3:
                x = x.flatten(2)
            case _:
                pass
        below = layer
    return x


def _is_in_place(layer: object) -> bool:
    """Whether its gradient can be told from its output after dropout."""
    return isinstance(layer, Activation) and ACTIVATIONS[layer.name].in_place


def _unit_mask(parts: NetworkParts, index: int, device: torch.device) -> Tensor:
    """1 for the units that each trial's own network has below a layer, 0 for those that rounding added.

    Shape (K, 1, F) behind a dense layer; 1 behind a convolution, whose channels are not rounded.
    """
    layers = parts.rounded.layers
    below = next(i for i in range(index, -1, -1) if isinstance(layers[i], Dense | Convolution))
    own = [layer.outputs for n in parts.own if isinstance(layer := n.layers[below], Dense)]
    if not own:
        return torch.ones((), device=device)
    units_F, own_K = torch.arange(rounded_width(max(own))), torch.tensor(own)
    return (units_F < own_K[:, None, None]).float().to(device)
