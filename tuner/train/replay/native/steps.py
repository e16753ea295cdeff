"""A recorded step in the hands of the compiled kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tuner.train.replay.native.side_by_side import side_by_side
from tuner.train.replay.native.translation import OPERATION, Translation, UnknownCallError
from tuner.train.replay.recorder import Call


class NativeStep:
    """A recorded step as the kernels run it."""

    def __init__(
        self, library: ctypes.CDLL, calls: Sequence[Call], reads: Sequence[Tensor], *, num_trials: int
    ) -> None:
        """Translate a recording.

        Args:
            library: See `native.library`.
            calls: Of the step, on tensors that stay where they are.
            reads: The tensors that a row of a table is loaded into before each step.
            num_trials: Along the first dimension of all tensors that differ from trial to trial.

        Raises:
            UnknownCallError: the kernels lack an operation.
        """
        translation = Translation(num_trials)
        for call in calls:
            translation.add(call)
        if not all(t.is_contiguous() for t in reads):
            raise UnknownCallError("a load into a strided tensor")
        self._num_trials = num_trials
        self.written = translation.written
        """What the operations write, each tensor once."""
        self._run = library.tuner_run
        self._operations = np.array(translation.operations, dtype=OPERATION)
        side_by_side(self._operations, num_trials=num_trials)
        self._reads = [(target.data_ptr(), target.numel() * target.element_size(), target) for target in reads]
        self._alive = list(calls)
        """The operations know tensors by their address."""

    def __call__(self, tables: Sequence[Tensor], first: int, last: int) -> None:
        """Run the steps from `first` up to, not including, `last`, each on its row of the tables."""
        whole = [table.contiguous() for table in tables]
        loads = np.empty((len(tables), 3), dtype=np.int64)
        for place, (table, (address, size, target)) in enumerate(zip(whole, self._reads, strict=True)):
            assert table.dtype == target.dtype
            assert table.shape[1:].numel() == target.numel()
            loads[place] = address, table.data_ptr(), size
        self._invoke(loads, first, last)

    def run_once(self) -> None:
        """Run one step on what its reads hold."""
        self._invoke(np.empty((0, 3), dtype=np.int64), 0, 1)

    def _invoke(self, loads: npt.NDArray[np.int64], first: int, last: int) -> None:
        self._run(
            self._operations.ctypes.data, len(self._operations), self._num_trials,
            loads.ctypes.data, len(loads), first, last,
        )  # fmt: skip
