"""The shape that networks of dense layers share where some are narrower, or have fewer hidden layers, than others.

A narrower network has zeros behind its units. One with fewer hidden layers has nothing in the upper blocks: what
comes in goes past them, so that such a block stands between a `Fork` and a `Join`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.models.layers.dense import Dense
from tuner.models.layers.layer import Layer
from tuner.models.layers.norms import Norm
from tuner.models.layers.residual import Fork, Join
from tuner.models.network import Network


@dataclass(frozen=True, slots=True)
class Branch:
    """How one network stands to a block that not all of them have."""

    is_there: bool
    keeps_input: bool
    """What comes in goes past the block: alone, or beside it in a residual network."""


@dataclass(frozen=True, slots=True)
class Common:
    """A shape of several networks."""

    network: Network
    """At rounded widths."""
    places: tuple[tuple[int, ...], ...]
    """Of each network: where each of its layers is among those of the shape."""
    branches: Mapping[int, tuple[Branch, ...]]
    """Of the blocks that not all networks have, by the number of their `Join`: how each network stands to it."""

    def layer_of(self, row: int, network: Network, index: int) -> Layer | None:
        """The layer of one of the networks that is at a place of the shape, if it has one there."""
        places = self.places[row]
        return network.layers[places.index(index)] if index in places else None


def common(networks: Sequence[Network]) -> Common:
    """The smallest shape that holds all of these networks, which are alike but for widths and numbers of hidden layers.

    What goes past a block fits into it: it is as wide as the last block of each network that has fewer.
    """
    rounded = [network.rounded() for network in networks]
    if all(network == rounded[0] for network in rounded):
        return Common(rounded[0], (tuple(range(len(rounded[0].layers))),) * len(rounded), {})
    parted = [_parted(network) for network in rounded]
    depth = max(len(own.blocks) for own in parted)
    layers, branches = [*parted[0].head], dict[int, tuple[Branch, ...]]()
    places = [list(range(len(layers))) for _ in rounded]
    before = parted[0].blocks[0].dense.inputs
    for number in range(depth):
        own = [part.blocks[number] if number < len(part.blocks) else None for part in parted]
        model = next(block for block in own if block is not None)
        assert all(block is None or block.kinds == model.kinds for block in own), "they differ in more than sizes"
        width = max(part.blocks[min(number, len(part.blocks) - 1)].dense.outputs for part in parted)
        is_branch = model.is_residual or None in own
        first = len(layers)
        inner = [_of_width(layer, before, width) for layer in model.inner]
        layers += [Fork(), *inner, Join()] if is_branch else inner
        for place, block in zip(places, own, strict=True):
            if block is not None:
                place += range(first + (is_branch and not block.is_residual), first + is_branch + len(inner))
                place += [len(layers) - 1] * block.is_residual
        if None in own:
            branches[len(layers) - 1] = tuple(
                Branch(is_there=block is not None, keeps_input=block is None or block.is_residual) for block in own
            )
        before = width
    for place in places:
        place.append(len(layers))
    last = rounded[0].layers[-1]
    assert isinstance(last, Dense)
    network = Network((*layers, Dense(before, last.outputs)), rounded[0].input_shape)
    return Common(network, tuple(map(tuple, places)), branches)


@dataclass(frozen=True, slots=True)
class _Block:
    """A hidden layer of a network."""

    inner: tuple[Layer, ...]
    is_residual: bool

    @property
    def dense(self) -> Dense:
        dense = self.inner[0]
        assert isinstance(dense, Dense)
        return dense

    @property
    def kinds(self) -> tuple[object, ...]:
        """All but its sizes."""
        return (self.is_residual, *(_of_width(layer, 0, 0) for layer in self.inner))


@dataclass(frozen=True, slots=True)
class _Parted:
    """A network in parts; behind them is its output layer."""

    head: tuple[Layer, ...]
    """Before the first hidden layer."""
    blocks: tuple[_Block, ...]


def _parted(network: Network) -> _Parted:
    head: list[Layer] = []
    blocks: list[list[Layer]] = []
    is_open = False
    for layer in network.layers[:-1]:
        if isinstance(layer, Fork) or (isinstance(layer, Dense) and not is_open):
            blocks.append([])
            is_open = isinstance(layer, Fork)
        (blocks[-1] if blocks else head).append(layer)
        is_open = is_open and not isinstance(layer, Join)
    found = [
        _Block(tuple(block[1:-1]), True) if isinstance(block[0], Fork) else _Block(tuple(block), False)
        for block in blocks
    ]
    return _Parted(tuple(head), tuple(found))


def _of_width(layer: Layer, inputs: int, width: int) -> Layer:
    """A layer of a block with other sizes."""
    match layer:
        case Dense():
            return Dense(inputs, width)
        case Norm():
            return type(layer)(width)
        case _:
            return layer
