"""The plain `nn.Module` of a network description: what users get exported, the reference for the stacked program."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from tuner.models.keyed import generator
from tuner.models.layers.activations import is_relu_like
from tuner.models.layers.dropout import keyed_dropouts
from tuner.models.layers.layer import Parameter, is_weight, transposed_for_module
from tuner.models.layers.residual import Fork, ResidualSequential
from tuner.models.network import Network, initial_scale

_DRAWS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "he": nn.init.kaiming_normal_,
    "xavier": nn.init.xavier_normal_,
    "lecun": partial(nn.init.kaiming_normal_, nonlinearity="linear"),
    "orthogonal": nn.init.orthogonal_,
    "normal": nn.init.normal_,
    "zero": nn.init.zeros_,
}


def initial_values(network: Network, *, seed: int, init: str = "auto") -> dict[Parameter, Tensor]:
    """A trial's initial parameters in the stacked layout: normal weights, zero biases, unit norms."""
    draw = generator(seed, "init")
    values: dict[Parameter, Tensor] = {}
    for parameter in network.parameters():
        if parameter.spread:
            values[parameter] = torch.randn(parameter.shape, generator=draw) * parameter.spread
        elif parameter.decayed:
            values[parameter] = _initial_weight(network, parameter, init, draw)
        else:
            values[parameter] = torch.full(parameter.shape, parameter.start)
    return values


def _initial_weight(network: Network, parameter: Parameter, init: str, draw: torch.Generator) -> Tensor:
    """Normal numbers at the scale of `initial_scale`, or what these make of them.

    `orthogonal`: rows or columns orthogonal to each other (arXiv 1312.6120), longer by sqrt(2) before a ReLU-like
    activation. `zero`: all units of a layer stay alike. `normal`: standard deviation 1, whatever the width.
    """
    drawn = torch.randn(parameter.shape, generator=draw)
    match init:
        case "zero":
            return torch.zeros(parameter.shape)
        case "normal":
            return drawn
        case "orthogonal":
            layer = network.layers[parameter.layer]
            by_unit = transposed_for_module(layer, drawn)
            gain = 2**0.5 if is_relu_like(network.activation_after(parameter.layer)) else 1.0
            found = _orthogonal(by_unit.flatten(1)).view(by_unit.shape) * gain
            return transposed_for_module(layer, found).contiguous()
        case _:
            return drawn * initial_scale(network, parameter, init)


def _orthogonal(matrix: Tensor) -> Tensor:
    """The orthogonal factor of a random matrix, of its shape, with the signs that make it uniform."""
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    factor, triangle = torch.linalg.qr(tall)
    q: Tensor = factor * torch.where(triangle.diagonal() < 0, -1.0, 1.0)
    return q if tall is matrix else q.T


def to_module(network: Network, *, dropout: float | Sequence[float] = 0.0) -> nn.Sequential:
    """The network as an `nn.Sequential` with uninitialised parameters, named by layer number: `0.weight`, ...

    Args:
        network: The description.
        dropout: The rate of all dropout layers, or of each.
    """
    kind = ResidualSequential if any(isinstance(layer, Fork) for layer in network.layers) else nn.Sequential
    module = kind(OrderedDict((str(index), layer.module()) for index, layer in enumerate(network.layers)))
    rates = [dropout] * network.num_dropouts if isinstance(dropout, float | int) else dropout
    for layer, rate in zip(keyed_dropouts(module), rates, strict=True):
        layer.set_rate(rate)
    return module


def draw_weights(module: nn.Module, *, init: str) -> None:
    """Draw a module's weight matrices anew from the library's generator; `auto` keeps what its layers drew."""
    if init == "auto":
        return
    for parameter in module.parameters():
        if is_weight(parameter.shape):
            _DRAWS[init](parameter)


def load_values(module: nn.Sequential, network: Network, values: Mapping[Parameter, Tensor]) -> None:
    """Copy parameters of the stacked layout into the plain module."""
    with torch.no_grad():
        for parameter, value in values.items():
            target = module.get_parameter(f"{parameter.layer}.{parameter.name}")
            layer = network.layers[parameter.layer]
            target.copy_(transposed_for_module(layer, value) if is_weight(parameter.shape) else value)


def read_values(module: nn.Module, network: Network) -> dict[Parameter, Tensor]:
    """The inverse of `load_values`."""
    found: dict[Parameter, Tensor] = {}
    for parameter in network.parameters():
        value, layer = (
            module.get_parameter(f"{parameter.layer}.{parameter.name}").detach(),
            network.layers[parameter.layer],
        )
        found[parameter] = transposed_for_module(layer, value) if is_weight(parameter.shape) else value
    return found


def module_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """The shapes of the parameters of the network's module, by name."""
    return {
        f"{p.layer}.{p.name}": p.shape[::-1] if network.layers[p.layer].is_transposed else p.shape
        for p in network.parameters()
    }
