"""Networks for tables: the numbers are embedded, each by itself, before an MLP sees them together."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.errors import DataError
from tuner.models.layers.layer import Layer
from tuner.models.layers.numbers import Cosines
from tuner.models.mlp import hidden_layers
from tuner.models.network import Network
from tuner.records import ParamValue

_COSINES = 8
"""Of each number."""


def tabular(
    settings: Mapping[str, ParamValue], *, input_shape: tuple[int, ...], num_outputs: int, num_numbers: int
) -> Network:
    """Describe an MLP of the features and of periodic embeddings of the numbers (arXiv 2203.05556).

    Args:
        settings: `number_embedding` (`none`: an MLP as it is), and those of `mlp`.
        input_shape: (features,) of one example.
        num_outputs: Classes, or regression targets.
        num_numbers: How many features, which come first, are numbers; the others are categories and marks.
    """
    (features,) = row_shape(input_shape, model="tabular")
    layers = list[Layer]()
    if settings["number_embedding"] == "periodic" and num_numbers:
        layers = [Cosines(features, num_numbers, _COSINES)]
        features += num_numbers * _COSINES
    return Network((*layers, *hidden_layers(settings, features, num_outputs)), input_shape)


def row_shape(input_shape: tuple[int, ...], *, model: str) -> tuple[int, ...]:
    """The shape of an example that is a row of features.

    Raises:
        DataError: it is none.
    """
    if len(input_shape) != 1:
        raise DataError(
            f"model {model} is for tables, and an example has shape {input_shape}; use mlp, or a cnn of images"
        )
    return input_shape
