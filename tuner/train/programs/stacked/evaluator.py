"""The stacked networks in evaluation mode: forward tapes for numbers of examples that come at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

import torch
from torch import Tensor

from tuner.models.layers.tape import Tape
from tuner.train.program import evaluation_chunks
from tuner.train.programs.stacked.network import NetworkParts, record_network
from tuner.train.programs.stacked.step import KERNELS_AFTER_RUNS
from tuner.train.replay.native.steps import Parts
from tuner.train.replay.replay import ReplayedStep


class Evaluator:
    """Runs K networks without dropout, with their running statistics."""

    def __init__(
        self,
        new_tape: Callable[..., Tape],
        parts: NetworkParts,
        *,
        num_trials: int,
        num_outputs: int,
        example_shape: Sequence[int],
        device: torch.device,
        rows: int,
    ) -> None:
        """Prepare nothing yet: tapes are made when they are first needed.

        Args:
            new_tape: Makes an empty tape for so many examples, in memory that it shares.
            parts: Of the networks.
            num_trials: K.
            num_outputs: Outputs that are not added by rounding.
            example_shape: Of the inputs, at rounded width.
            device: Of the networks.
            rows: Examples that are evaluated at once; a function of the networks' shape alone, for a trial's figures
                are not to depend on its neighbours.
        """
        self._new_tape = new_tape
        self._parts = parts
        self._num_trials = num_trials
        self._num_outputs = num_outputs
        self._example_shape = tuple(example_shape)
        self._device = device
        self._rows = rows
        self._forwards: dict[int, _Forward] = {}
        self._memory: list[Tensor] = []
        self._outputs = torch.empty(0, device=device)

    def outputs(self, inputs: Tensor, *, into: Tensor | None = None) -> Tensor:
        """Logits or predictions, shape (K, examples, outputs); valid until the next call unless there is a place."""
        shape = (self._num_trials, len(inputs), self._num_outputs)
        if into is None and len(self._outputs) < prod(shape):
            self._outputs = torch.empty(prod(shape), device=self._device)
        found = self._outputs[: prod(shape)].view(shape) if into is None else into
        first = 0
        for portions in _portions(inputs, self._rows):
            count, rows = portions.shape[:2]
            end = first + count * rows
            own = found[:, first:end].view(self._num_trials, count, rows, self._num_outputs)
            self._forward(portions).run(portions, own)
            first = end
        return found

    def parts(self, inputs: Tensor, into_EKNC: Tensor) -> list[Parts] | None:
        """What finds the outputs after each of several epochs by the compiled kernels; None unless all is theirs."""
        found, first = [], 0
        for portions in _portions(inputs, self._rows):
            forward, (count, rows) = self._forward(portions), portions.shape[:2]
            if forward.replayed.kernels is None:
                return None
            end = first + count * rows
            own = into_EKNC[:, :, first:end].view(*into_EKNC.shape[:2], count, rows, self._num_outputs)
            table = forward.table(portions)
            tables = [table.expand(len(into_EKNC), *table.shape)]
            found.append(forward.replayed.kernels.parts(tables, 0, count, own))
            first = end
        return found

    def clear(self) -> None:
        """Let go of the memory of the tapes, which are made again when they are needed."""
        self._forwards.clear()
        self._memory = []
        self._outputs = torch.empty(0, device=self._device)

    def firing_units(self, inputs: Tensor) -> list[Tensor]:
        """For each ReLU layer whether each unit is positive for any of the examples, bool of shape (K, units)."""
        found: list[Tensor] = []
        for chunk in evaluation_chunks(inputs, rows=self._rows):
            forward = self._forward(chunk[None])
            forward.run(chunk[None], forward.new_outputs())
            rectified = forward.tape.rectified
            fires = [y.amax(dim=(1, *range(3, y.dim()))) > 0 for y in rectified]
            found = [a | b for a, b in zip(found, fires, strict=True)] if found else fires
        return found

    def _forward(self, portions: Tensor) -> _Forward:
        """The forward pass of a portion of as many examples as these have."""
        rows = portions.shape[1]
        if rows not in self._forwards:
            tape = self._new_tape(rows, shared=self._memory)
            x = tape.memory.buffer(rows, *self._example_shape)
            read = x if x.dim() > 2 else x[:, : portions.shape[2:].numel()]
            self._forwards[rows] = _Forward(
                tape, x, self._parts, read=read, num_trials=self._num_trials, num_outputs=self._num_outputs
            )
        return self._forwards[rows]


class _Forward:
    """A forward pass of so many examples."""

    def __init__(
        self, tape: Tape, x: Tensor, parts: NetworkParts, *, read: Tensor, num_trials: int, num_outputs: int
    ) -> None:
        self.tape = tape
        self._z = record_network(tape, x.expand(num_trials, *x.shape), parts)[:, :, :num_outputs]
        self._read = read
        """Where the inputs go, without what rounding has put behind them."""
        self.replayed = ReplayedStep(
            tape.run_forward, reads=[read], state=(), saves=[self._z], num_trials=num_trials, script_after=None,
            kernels_after=KERNELS_AFTER_RUNS if x.device.type == "cpu" else None,
        )  # fmt: skip

    def run(self, portions: Tensor, found: Tensor) -> None:
        """Find the outputs, (K, portions, examples, outputs), of portions (portions, examples, ...) one by one."""
        self.replayed.run([self.table(portions)], 0, len(portions), found)

    def table(self, portions: Tensor) -> Tensor:
        """What is read of portions."""
        return portions.reshape(len(portions), *self._read.shape)

    def new_outputs(self) -> Tensor:
        """Memory for those of one portion."""
        return torch.empty(self._z.shape, device=self._z.device).unsqueeze(1)


def _portions(inputs: Tensor, rows: int) -> Iterator[Tensor]:
    """The examples in the portions in which they are evaluated, (portions, examples, ...).

    Those of a tensor that are as large as one another come together; what stands for one is read one at a time.
    """
    if not isinstance(inputs, Tensor):
        yield from (chunk[None] for chunk in evaluation_chunks(inputs, rows=rows))
        return
    whole = len(inputs) // rows * rows
    if whole:
        yield inputs[:whole].view(-1, rows, *inputs.shape[1:])
    if whole < len(inputs):
        yield inputs[None, whole:]
