"""Networks of dense layers: the multi-layer perceptron, and the linear baseline that any network should beat."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from tuner.models.layers.activations import Activation
from tuner.models.layers.dense import Dense
from tuner.models.layers.dropout import Dropout
from tuner.models.layers.images import Flatten
from tuner.models.layers.layer import Layer
from tuner.models.layers.norms import norm_layers
from tuner.models.layers.residual import Fork, Join
from tuner.models.network import Network
from tuner.records import ParamValue
from tuner.spec.by_layer import hidden_widths


def mlp(settings: Mapping[str, ParamValue], *, input_shape: tuple[int, ...], num_outputs: int) -> Network:
    """Describe an MLP: [dense, norm, activation, dropout] for each hidden layer, then a dense output.

    Args:
        settings: `hidden_units`, of all layers or by layer, `hidden_layers` (0 for linear or logistic regression),
            `activation`, `norm`, and `residual`: each hidden layer but the first adds what it computes to its input
            (arXiv 1512.03385).
        input_shape: Of one example; images are flattened.
        num_outputs: Classes, or regression targets.
    """
    layers = hidden_layers(settings, prod(input_shape), num_outputs)
    return Network((*_flattened(input_shape), *layers), input_shape)


def hidden_layers(settings: Mapping[str, ParamValue], inputs: int, num_outputs: int) -> list[Layer]:
    """The layers of an MLP for so many features."""
    layers: list[Layer] = []
    for number, width in enumerate(hidden_widths(settings)):
        norm = norm_layers(str(settings["norm"]), width)
        layer = [Dense(inputs, width), *norm, Activation(str(settings["activation"])), Dropout()]
        layers += [Fork(), *layer, Join()] if number and settings["residual"] else layer
        inputs = width
    return [*layers, Dense(inputs, num_outputs)]


def linear(settings: Mapping[str, ParamValue], *, input_shape: tuple[int, ...], num_outputs: int) -> Network:
    """Describe linear, logistic or softmax regression: one dense layer. It has no settings."""
    return Network((*_flattened(input_shape), Dense(prod(input_shape), num_outputs)), input_shape)


def _flattened(input_shape: tuple[int, ...]) -> list[Layer]:
    return [] if len(input_shape) == 1 else [Flatten()]
