"""Dropout whose masks are keyed by (trial seed, step, layer), for plain modules and under `torch.func.vmap`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from tuner.errors import DataError
from tuner.models.keyed import call_multiplier, dropout_field, dropout_threshold
from tuner.models.layers.layer import Layer, LayerRows
from tuner.models.layers.widths import rounded_width


class UnreadableRateError(RuntimeError):
    """A module's own code asks for the rate of a layer that has one for each trial."""


class KeyedDropout(nn.Module):
    """Inverted dropout with the masks of the stacked program.

    The buffers are scalars, one value for each trial when stacked: `key` is set before each training step
    (`keyed.dropout_keys`), `threshold` and `scale` follow from the rate. A layer that is called several times in a
    forward pass draws another mask each time: `calls` counts, and is set to 0 before each training step.
    """

    key: Tensor
    threshold: Tensor
    scale: Tensor

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.register_buffer("key", torch.ones((), dtype=torch.int32), persistent=False)
        self.register_buffer("threshold", torch.empty((), dtype=torch.int32), persistent=False)
        self.register_buffer("scale", torch.empty(()), persistent=False)
        self.set_rate(rate)
        self.calls = 0

    @property
    def p(self) -> float:
        """The rate of `nn.Dropout`.

        Raises:
            UnreadableRateError: always.
        """
        raise UnreadableRateError("trials of one stack have rates of their own")

    def start_step(self, key: Tensor | int) -> None:
        """Draw the masks of another step."""
        self.key.fill_(key)
        self.calls = 0

    def set_rate(self, rate: float) -> None:
        """Set the share of units dropped, in [0, 1)."""
        self.threshold.fill_(dropout_threshold(rate))
        self.scale.fill_(1.0 / (1.0 - rate))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        # The field's rows are as long as the stacked program's, so that both drop the same units.
        width = x.shape[-1]
        rows = x.numel() // width
        field = dropout_field(rows * rounded_width(width), x.device).view(rows, -1)[:, :width].reshape(x.shape)
        key = self.key * call_multiplier(self.calls) if self.calls else self.key
        self.calls += 1
        return x * ((field * key >= self.threshold) * self.scale)


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Inverted dropout (arXiv 1207.0580) at the trial's own rate; the last layer of a network is never one."""

    is_random: ClassVar[bool] = True

    @property
    def copies(self) -> int:
        return 0

    def module(self) -> nn.Module:
        return KeyedDropout(0.0)

    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        """See `Layer.record`; nothing in evaluation."""
        tape, inputs = rows.tape, rows.dropout
        if inputs is None or not tape.training:
            return x
        per_trial = (-1,) + (1,) * (x.dim() - 1)
        key, threshold, scale = (t.view(per_trial) for t in (inputs.key_K, inputs.threshold_K, inputs.scale_K))
        field = _field(x, rows.own_widths() if x.dim() == 3 else ())
        drawn = torch.empty(x.shape, dtype=torch.int32, device=tape.device)
        mask = tape.memory.like(x)
        y = x if rows.below is not None and rows.below.in_place else tape.memory.like(x)
        tape.forward += [
            partial(torch.mul, field, key, out=drawn),
            partial(torch.ge, drawn, threshold, out=mask),
            partial(mask.mul_, scale),
            partial(torch.mul, x, mask, out=y),
        ]
        tape.backward.append(partial(torch.mul, tape.memory.gradient(y), mask, out=tape.memory.gradient(x)))
        return y


def _field(x: Tensor, own_widths: Sequence[int]) -> Tensor:
    """The numbers that masks are made of, where rows are as long as in each trial's own network; (..., B, features)."""
    if all(width == x.shape[2] for width in own_widths):
        return dropout_field(x[0].numel(), x.device).view(x.shape[1:])
    field_KBF = torch.zeros(x.shape, dtype=torch.int32, device=x.device)
    for field_BF, width in zip(field_KBF, own_widths, strict=True):
        if width:
            field_BF[:, :width] = dropout_field(len(field_BF) * width, x.device).view(-1, width)
    return field_KBF


def dropout_rates(
    first: float, last: float | None, num_layers: int, *, listed: tuple[float, ...] = ()
) -> tuple[float, ...]:
    """The rate of each dropout layer of a built-in network: as listed, or from the first to the last in equal steps.

    Raises:
        DataError: there are as many listed as there are no layers.
    """
    if listed and num_layers != len(listed):
        raise DataError(
            f"dropout: {list(listed)} lists {len(listed)} rates, and the network has {num_layers} dropout layers; "
            "give one for each"
        )
    if listed:
        return listed
    if last is None or num_layers < 2:
        return (first,) * num_layers
    return tuple(first + (last - first) * index / (num_layers - 1) for index in range(num_layers))


def keyed_dropouts(module: nn.Module) -> list[KeyedDropout]:
    """The dropout layers of a module, in order."""
    return [m for m in module.modules() if isinstance(m, KeyedDropout)]


def replace_dropout(module: nn.Module, *, rate: float | None = None) -> nn.Module:
    """Replace every `nn.Dropout` inside a module by a `KeyedDropout`, in place.

    Args:
        module: The user's module; dropout in place and of other classes (whole channels, alpha dropout) is left alone.
        rate: The rate for all of them; each keeps its own if None.

    Returns:
        The module (or its replacement, if it is itself an `nn.Dropout`).
    """
    if type(module) is nn.Dropout and not module.inplace:
        return KeyedDropout(module.p if rate is None else rate)
    for name, child in module.named_children():
        setattr(module, name, replace_dropout(child, rate=rate))
    return module
