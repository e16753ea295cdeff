"""A small convolutional network in the manner of VGG: channels double as the image halves, then one hidden layer."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.errors import DataError
from tuner.models.layers import Activation, BatchNorm, Convolution, Dense, Dropout, Flatten, Layer, MaxPool, Network
from tuner.records import ParamValue


def cnn(settings: Mapping[str, ParamValue], *, input_shape: tuple[int, ...], num_outputs: int) -> Network:
    """Describe a CNN of blocks [convolution, batch norm, activation, max pool], a hidden dense layer and an output.

    Args:
        settings: `channels` of the first block (doubled by each further one), `conv_layers`, `kernel_size` (odd),
            `hidden_units`, `activation`, `batch_norm`.
        input_shape: (channels, height, width) of one image. Pooling ends where the image is too small to halve.
        num_outputs: Classes, or regression targets.

    Raises:
        DataError: the examples are no images.
    """
    if len(input_shape) != 3:
        raise DataError(
            f"model cnn needs images of shape (channels, height, width), got examples of shape {input_shape}; "
            "use model mlp, or image data"
        )
    channels_in, height, width = input_shape
    activation = Activation(str(settings["activation"]))
    layers: list[Layer] = []
    for block in range(int(settings["conv_layers"])):
        channels = int(settings["channels"]) * 2**block
        layers.append(Convolution(channels_in, channels, int(settings["kernel_size"])))
        if settings["batch_norm"]:
            layers.append(BatchNorm(channels, spatial=True))
        layers.append(activation)
        if min(height, width) >= 2:
            layers.append(MaxPool(2))
            height, width = height // 2, width // 2
        channels_in = channels
    hidden = int(settings["hidden_units"])
    layers += [
        Flatten(),
        Dense(channels_in * height * width, hidden),
        activation,
        Dropout(),
        Dense(hidden, num_outputs),
    ]
    return Network(tuple(layers), input_shape)
