"""Gradients by back-propagation against differences of the loss, in float64.

A single entry of a tensor says little of the others. A difference along a random direction depends on all of them, and
one along which each unit weighs alike shows a single wrong unit. A difference can only be as exact as its step allows:
too small a step drowns in rounding, too large a one runs into curvature and kinks. So each step is as long as it takes
to change the loss by a share of itself, judged by the gradient, and what rounding explains is no error.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from tuner.data.dataset import Split
from tuner.models.layers.dropout import KeyedDropout

TOGETHER = "all parameters together"
_MAX_ENTRIES = 12
"""Single entries of each tensor."""
_NUM_DIRECTIONS = 4
"""Random directions in each tensor, and in all of them together."""
_CHANGE = 1e-7
"""A step changes the loss by about this share of itself: far more than rounding does, far less than curvature shows."""
_LONGEST_STEP = 1e-2
"""Of a tensor's own scale. Where gradients vanish a step must be long, and is then no longer than this."""
_SHORTEST_STEP = 1e-8
_JITTER = 1e-3
"""Of its own scale each tensor is moved before: where biases are zero and inputs blank, ReLU stands on its kink."""
_SHORTER = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""A difference that is not the expected one is taken over shorter steps too: kinks (ReLU) within a step spoil it, by
as much as steps of other lengths disagree."""
_MOST_ROUNDING = 0.1
"""Of a slope: steps over which rounding matters more are too short, and where there is but one nothing can be told."""
_LEAST_UNIT = 0.1
"""Units with a smaller gradient than this share of the usual one count as if theirs were so large."""


@dataclass(frozen=True, slots=True)
class GradientError:
    """How well the gradient of a tensor agrees with differences of the loss."""

    relative: float
    """|numerical - analytical| / (|numerical| + |analytical|) in L2 norm, of what rounding does not explain."""
    is_seen: bool
    """Whether it is large enough for a difference of losses to show it at all."""


class Float64Error(Exception):
    """The module or the loss cannot be computed in float64."""


def gradient_errors(
    module: nn.Module, batch: Split, *, loss: Callable[[Tensor, Tensor], Tensor], seconds: float
) -> dict[str, GradientError]:
    """The error of each parameter group's gradient by name, and of all together. The module is changed to float64.

    Args:
        module: Its dropout is switched off; norms use the batch's own statistics, as in training.
        batch: Examples, in float32.
        loss: Of outputs and targets, a scalar.
        seconds: When so many are over, no further tensors are looked at by themselves.

    Raises:
        Float64Error: see there.
    """
    end = time.monotonic() + seconds
    with _float64_by_default():
        module = without_dropout(module.to("cpu").double())
        _move_a_little(module)
        cost = _Cost(module, batch, loss)
        cost.backward()
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        # No gradient at all says that the loss does not depend on it, which the numerical one proves or refutes.
        tensors = [_Tensor(p.detach(), torch.zeros_like(p) if p.grad is None else p.grad.clone()) for _, p in named]
        draw = torch.Generator().manual_seed(0)
        errors = {TOGETHER: cost.error([_everywhere(tensors, draw) for _ in range(_NUM_DIRECTIONS)])}
        for (name, _), tensor in zip(named, tensors, strict=True):
            if time.monotonic() > end:
                break
            errors[name] = cost.error([*_directions(tensor, draw), *_entries(tensor, draw)])
    return errors


def without_dropout(module: nn.Module) -> nn.Module:
    """The module in training mode, but its dropout layers in evaluation mode."""
    module.train()
    for layer in module.modules():
        if isinstance(layer, KeyedDropout | nn.modules.dropout._DropoutNd):
            layer.eval()
        elif isinstance(layer, nn.RNNBase):
            layer.dropout = 0.0
    return module


def in_evaluation(module: nn.Module) -> nn.Module:
    """The module in evaluation mode, but for recurrent layers: on a GPU these have a gradient in training mode only."""
    module.eval()
    for layer in module.modules():
        if isinstance(layer, nn.RNNBase):
            layer.train().dropout = 0.0
    return module


@torch.no_grad()
def _move_a_little(module: nn.Module) -> None:
    draw = torch.Generator().manual_seed(1)
    for parameter in module.parameters():
        way = torch.randn(parameter.shape, generator=draw)
        parameter.add_(way, alpha=_JITTER * _scale_of(parameter))


def _scale_of(tensor: Tensor) -> float:
    """The root mean square of its entries; biases may all be zero at first."""
    return max(0.1, float(tensor.square().mean().sqrt()))


@contextmanager
def _float64_by_default() -> Iterator[None]:
    """Within the block a module that makes tensors of its own makes them in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@dataclass(frozen=True, slots=True, eq=False)
class _Tensor:
    """A parameter and its gradient by back-propagation."""

    value: Tensor
    gradient: Tensor

    @property
    def scale(self) -> float:
        return _scale_of(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class _Direction:
    """A way to move some tensors, each by a multiple of its own direction."""

    parts: Sequence[tuple[_Tensor, Tensor]]

    @property
    def slope(self) -> float:
        """Of the loss along it, by back-propagation."""
        return sum(float((t.gradient * way).sum()) for t, way in self.parts)

    @property
    def usual_slope(self) -> float:
        """How large the slope along such a direction is in general."""
        squares = [float(t.gradient.square().sum() * way.square().sum()) / t.gradient.numel() for t, way in self.parts]
        return max(abs(self.slope), math.sqrt(sum(squares)))

    @property
    def longest(self) -> float:
        """The multiple of it by which every tensor moves by its own scale at most."""
        return min(t.scale / max(float(way.abs().max()), 1e-300) for t, way in self.parts)


def _everywhere(tensors: Sequence[_Tensor], draw: torch.Generator) -> _Direction:
    """A random direction in which all tensors weigh alike."""
    norms = [float(t.gradient.norm()) for t in tensors]
    least = max(_LEAST_UNIT * max(norms), 1e-300)
    parts = [
        (t, torch.randn(t.value.shape, generator=draw) / max(norm, least))
        for t, norm in zip(tensors, norms, strict=True)
    ]
    return _Direction(parts)


def _directions(tensor: _Tensor, draw: torch.Generator) -> Iterator[_Direction]:
    """Random directions, in every second of which all units weigh alike."""
    by_unit = tensor.gradient.flatten(1) if tensor.gradient.dim() > 1 else tensor.gradient.view(-1, 1)
    norms = by_unit.norm(dim=1)
    usual = float(norms.square().mean().sqrt())
    weights = 1.0 / norms.clamp_min(max(_LEAST_UNIT * usual, 1e-300))
    weights = (weights / weights.mean()).view(-1, *[1] * (tensor.gradient.dim() - 1))
    for number in range(_NUM_DIRECTIONS):
        way = torch.randn(tensor.value.shape, generator=draw)
        yield _Direction([(tensor, way * weights.view(weights.shape if way.dim() else ()) if number % 2 else way)])


def _entries(tensor: _Tensor, draw: torch.Generator) -> Iterator[_Direction]:
    """Single entries."""
    for index in torch.randperm(tensor.value.numel(), generator=draw)[:_MAX_ENTRIES].tolist():
        way = torch.zeros(tensor.value.numel())
        way[index] = 1.0
        yield _Direction([(tensor, way.view(tensor.value.shape))])


class _Cost:
    """The loss of a batch as a function of the parameters."""

    def __init__(self, module: nn.Module, batch: Split, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._module = module
        self._loss = loss
        self._inputs = batch.inputs.cpu().double()
        targets = batch.targets.cpu()
        self._targets = targets.double() if targets.is_floating_point() else targets
        try:
            with torch.no_grad():
                if not torch.equal(self._compute(), self._compute()):
                    module.eval()  # it draws random numbers of its own in training mode
            self._value = self._compute()
        except Exception as error:  # a user's module may raise anything
            raise Float64Error(f"{type(error).__name__}: {error}") from error
        self._first = float(self._value.detach())
        self._rounding = 0.0

    def backward(self) -> None:
        """Back-propagate, and measure what may not be before: it moves the parameters."""
        self._value.backward()  # type: ignore[no-untyped-call]
        self._rounding = self._measured_rounding()

    def _compute(self) -> Tensor:
        return self._loss(self._module(self._inputs.clone()), self._targets)

    @torch.no_grad()
    def _measured_rounding(self) -> float:
        """By how much rounding may change the loss: how far it is from smooth on the smallest scale."""
        draw = torch.Generator().manual_seed(0)
        tensors = [_Tensor(p.detach(), torch.zeros_like(p)) for p in self._module.parameters() if p.requires_grad]
        found = [4 * torch.finfo(torch.float64).eps * abs(self._first)]
        for multiple in range(1, 5):
            way = _Direction([(t, torch.randn(t.value.shape, generator=draw) * t.scale) for t in tensors])
            up, down = (self._at(way, sign * multiple * 1e-12) for sign in (1.0, -1.0))
            found.append(abs(up - 2 * self._first + down))
        return 2 * max(found)

    @torch.no_grad()
    def _at(self, direction: _Direction, step: float) -> float:
        """The loss a step away."""
        kept = [t.value.clone() for t, _ in direction.parts]
        for tensor, way in direction.parts:
            tensor.value.add_(way, alpha=step)
        found = float(self._compute())
        for (tensor, _), value in zip(direction.parts, kept, strict=True):
            tensor.value.copy_(value)
        return found

    def error(self, directions: Sequence[_Direction]) -> GradientError:
        """The error of the slopes along these directions."""
        found = [self._compare(direction) for direction in directions]
        numerical, unexplained, rounding = torch.tensor(found).T.norm(dim=1).tolist()
        analytical = float(torch.tensor([direction.slope for direction in directions]).norm())
        size = numerical + analytical
        is_seen = rounding < size * _MOST_ROUNDING * _SHORTER[1]
        return GradientError(unexplained / size if size > 0 else 0.0, is_seen)

    def _compare(self, direction: _Direction) -> tuple[float, float, float]:
        """(slope, what of its difference to the one by back-propagation is not explained, what rounding explains)."""
        expected, usual, longest = direction.slope, direction.usual_slope, direction.longest
        step = longest * _LONGEST_STEP
        if usual > 0:
            step = min(step, max(_CHANGE * abs(self._first) / usual, _SHORTEST_STEP * longest))
        slopes: list[float] = []
        differences: list[float] = []
        for share in _SHORTER:
            length = step * share
            up, down = self._at(direction, length), self._at(direction, -length)
            slope, rounding = (up - down) / (2 * length), self._rounding / length
            if slopes and rounding > _MOST_ROUNDING * max(usual, abs(slopes[0])):
                break
            slopes.append(slope)
            differences.append(abs(slope - expected) - rounding)
            if differences[-1] <= _CHANGE * abs(expected):
                return slopes[0], 0.0, self._rounding / step
        kinks = max((abs(a - b) for a, b in pairwise(slopes)), default=math.inf)
        return slopes[0], max(0.0, min(differences) - kinks), self._rounding / step
