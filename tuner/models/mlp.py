"""The multi-layer perceptron: [dense, batch norm, activation, dropout] for each hidden layer, then a dense output."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from tuner.models.layers import Activation, BatchNorm, Dense, Dropout, Flatten, Layer, Network
from tuner.records import ParamValue


def mlp(settings: Mapping[str, ParamValue], *, input_shape: tuple[int, ...], num_outputs: int) -> Network:
    """Describe an MLP.

    Args:
        settings: `hidden_units`, `hidden_layers` (0 for linear or logistic regression), `activation`, `batch_norm`.
        input_shape: Of one example; images are flattened.
        num_outputs: Classes, or regression targets.
    """
    width = int(settings["hidden_units"])
    layers: list[Layer] = [] if len(input_shape) == 1 else [Flatten()]
    inputs = prod(input_shape)
    for _ in range(int(settings["hidden_layers"])):
        layers.append(Dense(inputs, width))
        if settings["batch_norm"]:
            layers.append(BatchNorm(width))
        layers += [Activation(str(settings["activation"])), Dropout()]
        inputs = width
    return Network((*layers, Dense(inputs, num_outputs)), input_shape)
