"""Networks as descriptions: a tuple of layers that both the plain module and the stacked program are built from.

The reference (`models.module`) turns a description into an `nn.Sequential`; the stacked program
(`train.programs.stacked`) turns it into tensors that hold many trials at once. Both lay their parameters out as
`parameter_shapes` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from tuner.models.activations import ACTIVATIONS, is_relu_like

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Dense:
    """x W + b, with W of shape (inputs, outputs)."""

    inputs: int
    outputs: int


@dataclass(frozen=True, slots=True)
class Convolution:
    """2-D convolution, stride 1, padded to keep height and width (odd kernel)."""

    channels_in: int
    channels_out: int
    kernel: int


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Maximum over squares of `size` by `size`, which halve (or more) height and width; a remainder is dropped."""

    size: int


@dataclass(frozen=True, slots=True)
class Flatten:
    """(channels, height, width) to (features,)."""


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch normalisation over the batch (arXiv 1502.03167)."""

    features: int
    spatial: bool = False
    """After a convolution: one mean and variance for each channel, over height and width too."""


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """Layer normalisation over the features of each example (arXiv 1607.06450)."""

    features: int
    spatial: bool = False
    """After a convolution: over channels, height and width together, with a scale and a shift for each channel."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Keeps what comes in for the `Join` to come; the layers between the two are a residual branch."""


@dataclass(frozen=True, slots=True)
class Join:
    """Adds what the last open `Fork` kept (arXiv 1512.03385)."""


@dataclass(frozen=True, slots=True)
class GlobalAverage:
    """(channels, height, width) to the mean of each channel."""


@dataclass(frozen=True, slots=True)
class Activation:
    """An elementwise nonlinearity by name: see `tuner.models.activations`."""

    name: str


@dataclass(frozen=True, slots=True)
class Dropout:
    """Inverted dropout (arXiv 1207.0580) at the trial's own rate; the last layer of a network is never one."""


Norm: TypeAlias = BatchNorm | LayerNorm
Layer: TypeAlias = Dense | Convolution | Norm | Activation | Dropout | MaxPool | GlobalAverage | Flatten | Fork | Join

WIDTH_GRID = 16
"""Stacked programs round the widths of dense layers up to a multiple of this, with zeros: 64 bytes of float32, so that
every matrix is aligned whatever its place in the stack, and trials of nearly equal width share one shape. Each
trial's rounded width depends on the trial alone."""

NORM_EPS = 1e-5
BATCH_NORM_MOMENTUM = 0.1
_NEARLY_ZERO = 0.01
"""Spread of the initial weights of a network without a hidden layer."""


def rounded_width(width: int) -> int:
    """The next multiple of `WIDTH_GRID`."""
    return -(-width // WIDTH_GRID) * WIDTH_GRID


@dataclass(frozen=True, slots=True)
class Network:
    """A feed-forward network for inputs of one shape."""

    layers: tuple[Layer, ...]
    input_shape: tuple[int, ...]

    @property
    def num_dropouts(self) -> int:
        return sum(isinstance(layer, Dropout) for layer in self.layers)

    @property
    def num_parameters(self) -> int:
        return sum(math.prod(p.shape) for p in self.parameters())

    @property
    def num_activations(self) -> int:
        """Numbers of 32 bits that an example takes in evaluation: itself, and what each layer keeps of it."""
        shape, total = self.input_shape, math.prod(self.input_shape)
        for layer in self.layers:
            match layer:
                case Dense(_, outputs):
                    shape, copies = (outputs,), 1
                case Convolution(_, channels, _):
                    shape, copies = (channels, *shape[1:]), 1
                case MaxPool(size):
                    shape, copies = (shape[0], *(side // size for side in shape[1:])), 3  # indices are of 64 bits
                case GlobalAverage():
                    shape, copies = (shape[0],), 1
                case LayerNorm():
                    copies = 3
                case Activation(name):
                    copies = 0 if ACTIVATIONS[name].in_place else 1
                case BatchNorm() | Join():
                    copies = 1
                case _:
                    copies = 0
            total += copies * math.prod(shape)
        return total

    @property
    def hidden_widths(self) -> list[int]:
        """Units of each dense hidden layer and channels of each convolution, in order."""
        widths = (
            layer.outputs if isinstance(layer, Dense) else layer.channels_out
            for layer in self.layers[:-1]
            if isinstance(layer, Dense | Convolution)
        )
        return list(widths)

    def parameters(self) -> list[Parameter]:
        """All parameters in order of the layers, weight before bias."""
        return [p for index, layer in enumerate(self.layers) for p in _parameters(index, layer)]

    def rounded(self) -> Network:
        """The network with the widths of its dense layers rounded up: the shape in which it is stacked."""

        def widen(layer: Layer) -> Layer:
            match layer:
                case Dense(inputs, outputs):
                    return Dense(rounded_width(inputs), rounded_width(outputs))
                case BatchNorm(features, False):
                    return BatchNorm(rounded_width(features))
                case LayerNorm(features, False):
                    return LayerNorm(rounded_width(features))
                case _:
                    return layer

        return Network(tuple(widen(layer) for layer in self.layers), self.input_shape)

    def activation_after(self, index: int) -> str:
        """Name of the first activation behind a layer, `linear` if there is none."""
        following = (layer.name for layer in self.layers[index + 1 :] if isinstance(layer, Activation))
        return next(following, "linear")


def is_weight(shape: Sequence[int]) -> bool:
    """Whether a parameter of this shape is a weight: biases and what norms scale by have one dimension.

    It is what L2, L1 and a limit on norms apply to, what `init` draws, and whose gradients are watched.
    """
    return len(shape) > 1


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter tensor of a network."""

    layer: int
    name: str
    """`weight` or `bias`, as in the plain module."""
    shape: tuple[int, ...]
    """In the stacked layout: (inputs, outputs) for a dense layer."""
    fan_in: int = 0
    fan_out: int = 0
    trained: bool = True

    @property
    def decayed(self) -> bool:
        """Whether L2, L1 and a limit on norms apply."""
        return self.trained and is_weight(self.shape)


def _parameters(index: int, layer: Layer) -> list[Parameter]:
    match layer:
        case Dense(inputs, outputs):
            return [
                Parameter(index, "weight", (inputs, outputs), inputs, outputs),
                Parameter(index, "bias", (outputs,), inputs, outputs),
            ]
        case Convolution(channels_in, channels_out, kernel):
            fan_in, fan_out = channels_in * kernel**2, channels_out * kernel**2
            return [
                Parameter(index, "weight", (channels_out, channels_in, kernel, kernel), fan_in, fan_out),
                Parameter(index, "bias", (channels_out,), fan_in, fan_out),
            ]
        case BatchNorm(features, _) | LayerNorm(features, _):
            return [
                Parameter(index, "weight", (features,), features, features),
                Parameter(index, "bias", (features,), features, features),
            ]
        case _:
            return []


def initial_scale(network: Network, parameter: Parameter, init: str) -> float:
    """Standard deviation of a weight's normal initial values.

    `he`: sqrt(2 / fan_in) (arXiv 1502.01852). `xavier`: sqrt(2 / (fan_in + fan_out)) (Glorot, Bengio 2010).
    `lecun`: sqrt(1 / fan_in) (LeCun et al. 1998, Efficient BackProp), which Ng's course has before tanh.
    `auto`: He before a ReLU-like activation, Xavier before another and in the output layer; nearly zero where there is
    no hidden layer, since a convex problem needs no symmetry broken.
    """
    if init == "auto" and not network.hidden_widths:
        return _NEARLY_ZERO
    if init == "lecun":
        return math.sqrt(1 / parameter.fan_in)
    activation = network.activation_after(parameter.layer)
    he = init == "he" or (init == "auto" and is_relu_like(activation))
    return math.sqrt(2 / parameter.fan_in if he else 2 / (parameter.fan_in + parameter.fan_out))


def norm_layers(kind: str, features: int, *, spatial: bool = False) -> tuple[Layer, ...]:
    """The norm that a setting `norm` names: `none`, `batch` or `layer`."""
    match kind:
        case "batch":
            return (BatchNorm(features, spatial),)
        case "layer":
            return (LayerNorm(features, spatial),)
        case _:
            return ()


def transposed_for_module(layer: Layer, weight: Tensor) -> Tensor:
    """A weight of the stacked layout as the plain module holds it, and the other way round."""
    return weight.T if isinstance(layer, Dense) else weight
