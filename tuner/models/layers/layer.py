"""What a layer of a described network is: parameters, a plain module, and operations for K trials at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from tuner.models.layers.tape import Operation, Tape


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
    start: float = 0.0
    """Its initial value; weights are drawn."""
    spread: float = 0.0
    """Standard deviation of its normal initial values, where these do not depend on `init`; 0 where they do."""

    @property
    def decayed(self) -> bool:
        """Whether L2, L1 and a limit on norms apply."""
        return self.trained and is_weight(self.shape)


def is_weight(shape: Sequence[int]) -> bool:
    """Whether a parameter of this shape is a weight: biases and what norms scale by have one dimension.

    It is what L2, L1 and a limit on norms apply to, what `init` draws, and whose gradients are watched.
    """
    return len(shape) > 1


@dataclass(frozen=True, slots=True)
class Weights:
    """A layer's parameters and their gradients: views into rows, shape (K, ...); (K, 0) of what the layer has not."""

    weight: Tensor
    bias: Tensor
    weight_grad: Tensor
    bias_grad: Tensor


@dataclass(frozen=True, slots=True)
class DropoutInputs:
    """What the dropout of a step depends on; int32 and float32 of shape (K,), refilled for each step."""

    key_K: Tensor
    threshold_K: Tensor
    scale_K: Tensor


@dataclass(frozen=True, slots=True)
class Passing:
    """What each trial has of a block that not all of them have: 1 or 0, shape (K, 1, 1)."""

    block_K11: Tensor
    """What the block gives."""
    input_K11: Tensor
    """What came in, which goes past it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerRows:
    """One layer of K trials while it is recorded: where, and what it computes with besides its input."""

    tape: Tape
    weights: Weights
    statistics: Mapping[str, Tensor]
    """By the names of `Layer.statistics`, shape (K, features)."""
    held_K: Tensor | None
    """Whether each trial keeps its statistics as they are, bool; None where none ever does."""
    unit_mask: Callable[[], Tensor]
    """1 for the units that each trial's own network has, 0 for those that rounding added: (K, 1, features) of flat
    examples, without axes for images, whose channels are not rounded."""
    dropout: DropoutInputs | None
    """Of a layer that is random, if any trial drops anything."""
    first: bool
    """Whether nothing below is trained: its input needs no gradient."""
    below: Layer | None
    forks: list[tuple[Tensor, list[Operation]]]
    """The branches that are open: what came in, and what brings it the gradient of what went past."""
    own_widths: Callable[[], Sequence[int]]
    """The rounded width of each trial's own network here; 0 of one that lacks the layer."""
    passing: Passing | None
    """Of a `Join` behind a block that not all trials have."""


class Layer(ABC):
    """A kind of layer; subclasses are frozen dataclasses of its sizes."""

    __slots__ = ()

    statistics: ClassVar[Mapping[str, float]] = {}
    """Initial values of what it gathers in training for evaluation, by the names of its module's buffers."""
    is_random: ClassVar[bool] = False
    """Whether it is given a key for each training step."""
    is_transposed: ClassVar[bool] = False
    """Whether its module holds the weight the other way round."""

    @property
    def units(self) -> int | None:
        """Units or channels of a layer with a weight, None of any other."""
        return None

    @property
    def in_place(self) -> bool:
        """Whether the layer above may write into its output: its gradient is right from a masked output too."""
        return False

    @property
    def copies(self) -> int:
        """Buffers of the size of its output that it takes in evaluation."""
        return 1

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of what it gives for an example of a shape."""
        return shape

    def parameters(self, index: int) -> list[Parameter]:
        """Its parameters as the network's layer of this number, weight before bias."""
        return []

    def rounded(self) -> Layer:
        """The layer at the widths at which it is stacked."""
        return self

    @abstractmethod
    def module(self) -> nn.Module:
        """The plain module, uninitialised."""

    @abstractmethod
    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        """Record the operations on the tape, backward ones too if it is for training.

        A gradient is written into `tape.memory.gradient` of the layer's input, over what was there on the way forward.

        Args:
            x: Input buffer, (K, examples, features) or (K, examples, channels, height, width).
            rows: Where to record, and what the layer computes with.

        Returns:
            The output buffer.
        """


def transposed_for_module(layer: Layer, weight: Tensor) -> Tensor:
    """A weight of the stacked layout as the plain module holds it, and the other way round."""
    return weight.T if layer.is_transposed else weight
