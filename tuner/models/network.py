"""Networks as descriptions: a tuple of layers that both the plain module and the stacked program are built from.

Every layer (`models.layers`) gives a module, of which the reference (`models.module`) makes an `nn.Sequential`, and
records what it computes for many trials at once, which is the stacked program (`train.programs.stacked`). Both lay
their parameters out as `Layer.parameters` says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tuner.models.layers.activations import Activation, is_relu_like
from tuner.models.layers.layer import Layer, Parameter

_NEARLY_ZERO = 0.01
"""Spread of the initial weights of a network without a hidden layer."""


@dataclass(frozen=True, slots=True)
class Network:
    """A feed-forward network for inputs of one shape."""

    layers: tuple[Layer, ...]
    input_shape: tuple[int, ...]

    @property
    def num_dropouts(self) -> int:
        return sum(layer.is_random for layer in self.layers)

    @property
    def num_parameters(self) -> int:
        return sum(math.prod(p.shape) for p in self.parameters())

    @property
    def num_activations(self) -> int:
        """Numbers of 32 bits that an example takes in evaluation: itself, and what each layer keeps of it."""
        shape, total = self.input_shape, math.prod(self.input_shape)
        for layer in self.layers:
            shape = layer.output_shape(shape)
            total += layer.copies * math.prod(shape)
        return total

    @property
    def hidden_widths(self) -> list[int]:
        """Units of each dense hidden layer and channels of each convolution, in order."""
        return [layer.units for layer in self.layers[:-1] if layer.units is not None]

    def parameters(self) -> list[Parameter]:
        """All parameters in order of the layers, weight before bias."""
        return [p for index, layer in enumerate(self.layers) for p in layer.parameters(index)]

    def rounded(self) -> Network:
        """The network with the widths of its dense layers rounded up: the shape in which it is stacked."""
        return Network(tuple(layer.rounded() for layer in self.layers), self.input_shape)

    def activation_after(self, index: int) -> str:
        """Name of the first activation behind a layer, `linear` if there is none."""
        following = (layer.name for layer in self.layers[index + 1 :] if isinstance(layer, Activation))
        return next(following, "linear")


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
