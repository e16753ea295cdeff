"""Residual branches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tuner.models.layers.layer import Layer, LayerRows, Passing
from tuner.models.layers.tape import Operation, Tape


class _Skip(nn.Module):
    """Where a residual branch of `ResidualSequential` begins, or ends."""

    def __init__(self, *, joins: bool) -> None:
        super().__init__()
        self.joins = joins

    def extra_repr(self) -> str:
        return "join" if self.joins else "fork"


class ResidualSequential(nn.Sequential):
    """Layers one after the other; where a branch joins, what came into it is added."""

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for layer in self:
            if not isinstance(layer, _Skip):
                x = layer(x)
            elif layer.joins:
                x = x + kept.pop()
            else:
                kept.append(x)
        return x


@dataclass(frozen=True, slots=True)
class Fork(Layer):
    """Keeps what comes in for the `Join` to come; the layers between the two are a residual branch."""

    @property
    def copies(self) -> int:
        return 0

    def module(self) -> nn.Module:
        return _Skip(joins=False)

    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        """See `Layer.record`. The layer above must not change x in place."""
        skipped: list[Operation] = []
        rows.forks.append((x, skipped))
        if rows.tape.training:
            rows.tape.memory.gradient(x)
            # Runs after the branch's backward, which writes the gradient anew.
            rows.tape.backward.append(lambda: skipped[0]())
        return x


@dataclass(frozen=True, slots=True)
class Join(Layer):
    """Adds what the last open `Fork` kept (arXiv 1512.03385)."""

    def module(self) -> nn.Module:
        return _Skip(joins=True)

    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        tape = rows.tape
        kept, skipped = rows.forks.pop()
        y = tape.memory.like(x)
        if rows.passing is not None:
            _record_passing(x, kept, y, skipped, tape, rows.passing)
            return y
        tape.forward.append(partial(torch.add, x, kept, out=y))
        if tape.training:
            dy = tape.memory.gradient(y)
            skipped.append(partial(tape.memory.gradient(kept).add_, dy))
            tape.backward.append(partial(tape.memory.gradient(x).copy_, dy))
        return y


def _record_passing(x: Tensor, kept: Tensor, y: Tensor, skipped: list[Operation], tape: Tape, passing: Passing) -> None:
    """The same of a block that not all trials have: in the rows of the others it gives nothing, and learns nothing.

    Block and input may differ in width; behind the narrower of them, rows that are passed by have zeros.
    """
    width = min(x.shape[2], kept.shape[2])
    tape.forward += [
        partial(y.copy_, x),
        partial(y[:, :, :width].addcmul_, kept[:, :, :width], passing.input_K11),
    ]
    if tape.training:
        dy, dkept = tape.memory.gradient(y), tape.memory.gradient(kept)
        skipped.append(partial(dkept[:, :, :width].addcmul_, dy[:, :, :width], passing.input_K11))
        tape.backward.append(partial(torch.mul, dy, passing.block_K11, out=tape.memory.gradient(x)))
