"""The stacked networks in evaluation mode: forward tapes for numbers of examples that come at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor

from tuner.models.layers.tape import Tape
from tuner.train.program import evaluation_chunks
from tuner.train.programs.stacked.network import NetworkParts, record_network
from tuner.train.programs.stacked.step import KERNELS_AFTER_RUNS
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

    def outputs(self, inputs: Tensor) -> Tensor:
        """Logits or predictions, shape (K, examples, outputs); valid until the next call."""
        shape = (self._num_trials, len(inputs), self._num_outputs)
        if len(self._outputs) < prod(shape):
            self._outputs = torch.empty(prod(shape), device=self._device)
        found = self._outputs[: prod(shape)].view(shape)
        start = 0
        for chunk in evaluation_chunks(inputs, rows=self._rows):
            z = self._forward(chunk).z
            found[:, start : start + len(chunk)] = z[:, :, : self._num_outputs]
            start += len(chunk)
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
            rectified = self._forward(chunk).tape.rectified
            fires = [y.amax(dim=(1, *range(3, y.dim()))) > 0 for y in rectified]
            found = [a | b for a, b in zip(found, fires, strict=True)] if found else fires
        return found

    def _forward(self, chunk: Tensor) -> _Forward:
        """The forward pass, run on a chunk of examples."""
        if len(chunk) not in self._forwards:
            tape = self._new_tape(len(chunk), shared=self._memory)
            x = tape.memory.buffer(len(chunk), *self._example_shape)
            self._forwards[len(chunk)] = _Forward(tape, x, self._parts, self._num_trials)
        forward = self._forwards[len(chunk)]
        forward.run(chunk)
        return forward


class _Forward:
    """A forward pass of so many examples."""

    def __init__(self, tape: Tape, x: Tensor, parts: NetworkParts, num_trials: int) -> None:
        self.tape = tape
        self.z = record_network(tape, x.expand(num_trials, *x.shape), parts)
        """The outputs at rounded width, shape (K, examples, width)."""
        self._x = x
        self.replayed = ReplayedStep(
            tape.run_forward, reads=(), state=(), num_trials=num_trials, script_after=None,
            kernels_after=KERNELS_AFTER_RUNS if x.device.type == "cpu" else None,
        )  # fmt: skip

    def run(self, chunk: Tensor) -> None:
        flat = chunk if self._x.dim() > 2 else chunk.flatten(1)
        self._x[:, : flat.shape[1]].copy_(flat)
        self.replayed.run((), 0, 1)
