"""Convolutional networks for images of any size: in the manner of VGG, and with residual blocks."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.errors import DataError
from tuner.models.layers.activations import Activation
from tuner.models.layers.dense import Dense
from tuner.models.layers.dropout import Dropout
from tuner.models.layers.images import Convolution, Flatten, GlobalAverage, MaxPool
from tuner.models.layers.layer import Layer
from tuner.models.layers.norms import norm_layers
from tuner.models.layers.residual import Fork, Join
from tuner.models.network import Network
from tuner.records import ParamValue


def cnn(settings: Mapping[str, ParamValue], *, input_shape: tuple[int, ...], num_outputs: int) -> Network:
    """Describe a CNN of blocks [convolution, norm, activation, max pool], a hidden dense layer and an output.

    Args:
        settings: `channels` of the first block (doubled by each further one), `conv_layers`, `kernel_size` (odd),
            `hidden_units`, `activation`, `norm`.
        input_shape: (channels, height, width) of one image. Pooling ends where the image is too small to halve.
        num_outputs: Classes, or regression targets.

    Raises:
        DataError: the examples are no images.
    """
    channels_in, height, width = image_shape(input_shape, model="cnn")
    layers: list[Layer] = []
    for block in range(int(settings["conv_layers"])):
        channels = int(settings["channels"]) * 2**block
        layers += _convolution(settings, channels_in, channels)
        height, width = _halved(layers, height, width)
        channels_in = channels
    hidden = int(settings["hidden_units"])
    layers += [
        Flatten(),
        Dense(channels_in * height * width, hidden),
        Activation(str(settings["activation"])),
        Dropout(),
        Dense(hidden, num_outputs),
    ]
    return Network(tuple(layers), input_shape)


def resnet(settings: Mapping[str, ParamValue], *, input_shape: tuple[int, ...], num_outputs: int) -> Network:
    """Describe a small residual network (arXiv 1512.03385).

    Each stage is [convolution, norm, activation, max pool] and a residual block of two convolutions; the mean of
    each channel over the image goes to the output layer.

    Args:
        settings: `channels` of the first stage (doubled by each further one), `conv_layers` (stages), `kernel_size`
            (odd), `activation`, `norm`.
        input_shape: (channels, height, width) of one image. Pooling ends where the image is too small to halve.
        num_outputs: Classes, or regression targets.

    Raises:
        DataError: the examples are no images.
    """
    channels_in, height, width = image_shape(input_shape, model="resnet")
    layers: list[Layer] = []
    for stage in range(int(settings["conv_layers"])):
        channels = int(settings["channels"]) * 2**stage
        layers += _convolution(settings, channels_in, channels)
        height, width = _halved(layers, height, width)
        first, second = _convolution(settings, channels, channels), _convolution(settings, channels, channels)
        layers += [Fork(), *first, *second[:-1], Join(), second[-1]]
        channels_in = channels
    layers += [GlobalAverage(), Dropout(), Dense(channels_in, num_outputs)]
    return Network(tuple(layers), input_shape)


def image_shape(input_shape: tuple[int, ...], *, model: str) -> tuple[int, int, int]:
    """(channels, height, width) of examples that are images.

    Raises:
        DataError: they are none.
    """
    if len(input_shape) != 3:
        raise DataError(
            f"model {model} needs images of shape (channels, height, width), got examples of shape {input_shape}; "
            "use model mlp, or image data"
        )
    channels, height, width = input_shape
    return channels, height, width


def _convolution(settings: Mapping[str, ParamValue], channels_in: int, channels: int) -> list[Layer]:
    return [
        Convolution(channels_in, channels, int(settings["kernel_size"])),
        *norm_layers(str(settings["norm"]), channels, spatial=True),
        Activation(str(settings["activation"])),
    ]


def _halved(layers: list[Layer], height: int, width: int) -> tuple[int, int]:
    """Add a pooling layer where the image is large enough, and return the new height and width."""
    if min(height, width) < 2:
        return height, width
    layers.append(MaxPool(2))
    return height // 2, width // 2
