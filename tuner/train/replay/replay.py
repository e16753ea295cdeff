"""Tensor operations recorded once and replayed without Python: on a CPU, what a CUDA graph is on a GPU.

In small networks the interpreter takes longer to call an operation than the operation takes. A recording is the list
of calls that reach the dispatcher. Where the compiled kernels know all of them (`native/`), these run it, once
they have been seen to compute the same bits; else TorchScript does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tuner.train.replay.native.library import library
from tuner.train.replay.native.steps import NativeStep
from tuner.train.replay.native.translation import UnknownCallError
from tuner.train.replay.recorder import Call, NotReplayableError, Recorder
from tuner.train.replay.torchscript import Script

log = logging.getLogger(__name__)

_MOST_STATE_BYTES = 2**26
"""A step with more state is left to Python, whose share of it is small: to compare what kernels compute takes thrice
the state, and a trial would be given up for want of memory that it needs at no other time."""


class ReplayedStep:
    """A step that Python runs at first, and kernels or TorchScript once recording it pays."""

    def __init__(
        self,
        step: Callable[[], object],
        *,
        reads: Sequence[Tensor],
        state: Sequence[Tensor],
        saves: Sequence[Tensor] = (),
        num_trials: int,
        script_after: int | None,
        kernels_after: int | None,
    ) -> None:
        """Prepare a step.

        Args:
            step: Operations on tensors that stay where they are.
            reads: Those that it finds a row of a table in.
            state: Those that it changes and does not set first.
            saves: Those whose values are saved in a row of a table, (K, ...); such a step has no state, and is not
                replayed as TorchScript.
            num_trials: Along the first dimension of what differs from trial to trial.
            script_after: Replay it as TorchScript after so many runs: to record and compile it takes as long as many
                of them. None for never.
            kernels_after: Try the compiled kernels after so many runs; None for never.
        """
        self._step = step
        self._reads = tuple(reads)
        self._state = tuple(state)
        self._saves = tuple(saves)
        assert not saves or (not state and script_after is None)
        self._num_trials = num_trials
        is_small = sum(t.numel() * t.element_size() for t in state) <= _MOST_STATE_BYTES
        self._kernels_after = kernels_after if is_small else None
        self._script_after = script_after if is_small else None
        self._num_runs = 0
        self._replay: Callable[..., None] | None = None

    @property
    def recorded(self) -> bool:
        """Whether it runs without Python from now on."""
        return self._replay is not None

    @property
    def kernels(self) -> NativeStep | None:
        """What runs it by the compiled kernels; None unless that is how it is run from now on."""
        return self._replay if isinstance(self._replay, NativeStep) else None

    @property
    def runs_kernels(self) -> bool:
        """Whether the compiled kernels run it from now on."""
        return self.kernels is not None

    def run(self, tables: Sequence[Tensor], first: int, last: int, *saved: Tensor) -> None:
        """Run the steps from `first` up to, not including, `last`, each on its row of the tables.

        Args:
            tables: What it reads: (steps, ...).
            first: Row of the first step.
            last: Row after the last one.
            saved: Where what it saves is kept: (K, steps, ...).
        """
        while first < last and self._replay is None:
            for target, table in zip(self._reads, tables, strict=True):
                target.copy_(table[first])
            self._run_or_record()
            for source, table in zip(self._saves, saved, strict=True):
                table[:, first].copy_(source)
            self._num_runs += 1
            first += 1
        if first < last and self._replay is not None:
            self._replay(tables, first, last, *saved)

    def _run_or_record(self) -> None:
        kernels = library() if self._kernels_after is not None and self._num_runs >= self._kernels_after else None
        if kernels is not None:
            self._kernels_after = None  # they are tried once
        if kernels is None and self._num_runs != self._script_after:
            self._step()
            return
        before = [t.clone() for t in self._state]
        recorder = Recorder()
        try:
            with recorder:
                self._step()
            if kernels is not None:
                self._replay = self._by_kernels(recorder.calls, before)
            if self._replay is None and self._num_runs == self._script_after:
                self._replay = Script(recorder.calls).compile(self._reads)
        except NotReplayableError as error:
            log.debug("a step is run by Python, since it cannot be recorded: %s", error)
            self._kernels_after = self._script_after = None
            self._restore(before)
            self._step()

    def _by_kernels(self, calls: Sequence[Call], before: Sequence[Tensor]) -> NativeStep | None:
        """The recorded step for the kernels, unless they would compute anything else than was just computed."""
        try:
            step = NativeStep(calls, self._reads, self._saves, num_trials=self._num_trials)
        except UnknownCallError as error:
            log.debug("a step is not run by the compiled kernels: they do not know %s", error)
            return None
        expected, after = [t.clone() for t in step.written], [t.clone() for t in self._state]
        self._restore(before)
        step.run_once()
        if all(map(_same, step.written, expected)):
            return step
        log.info("the compiled kernels round otherwise than PyTorch on this machine, and are not used for a step")
        self._restore(after)
        for tensor, value in zip(step.written, expected, strict=True):
            tensor.copy_(value)
        return None

    def _restore(self, values: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for tensor, value in zip(self._state, values, strict=True):
                tensor.copy_(value)


def _same(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a, b) or torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)
