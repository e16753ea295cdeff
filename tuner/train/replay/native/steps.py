"""A recorded step in the hands of the compiled kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tuner.train.replay.native.calls import translate
from tuner.train.replay.native.side_by_side import side_by_side
from tuner.train.replay.native.translation import OPERATION, Translation, UnknownCallError
from tuner.train.replay.recorder import Call


class NativeStep:
    """A recorded step as the kernels run it."""

    def __init__(
        self,
        library: ctypes.CDLL,
        calls: Sequence[Call],
        reads: Sequence[Tensor],
        saves: Sequence[Tensor],
        *,
        num_trials: int,
    ) -> None:
        """Translate a recording.

        Args:
            library: See `native.library`.
            calls: Of the step, on tensors that stay where they are.
            reads: The tensors that a row of a table is loaded into before each step.
            saves: Those that are saved in a row of a table after each step.
            num_trials: Along the first dimension of all tensors that differ from trial to trial.

        Raises:
            UnknownCallError: the kernels lack an operation.
        """
        translation = Translation(num_trials)
        for call in calls:
            translate(translation, call)
        for target in saves:
            translation.check_trials(target)
        self._num_trials = num_trials
        self.written = translation.written
        """What the operations write, each tensor once."""
        self._run = library.tuner_run
        self._operations = np.array(translation.operations, dtype=OPERATION)
        side_by_side(self._operations, num_trials=num_trials)
        self._reads = [(target, *_pieces(target)) for target in reads]
        self._saves = [(source, *_pieces(source[0])) for source in saves]
        self._alive = list(calls)
        """The operations know tensors by their address."""

    def __call__(self, tables: Sequence[Tensor], first: int, last: int, *saved: Tensor) -> None:
        """Run the steps from `first` up to, not including, `last`, each on its row of the tables.

        Args:
            tables: What is loaded: (steps, ...).
            first: Row of the first step.
            last: Row after the last one.
            saved: Where it is saved: (K, steps, ...).
        """
        whole = [table.contiguous() for table in tables]
        loads = np.empty((len(tables), 5), dtype=np.int64)
        for place, (table, (target, *pieces)) in enumerate(zip(whole, self._reads, strict=True)):
            assert table.dtype == target.dtype
            assert table.shape[1:].numel() == target.numel()
            loads[place] = target.data_ptr(), table.data_ptr(), *pieces
        saves = np.empty((len(saved), 7), dtype=np.int64)
        for place, (table, (source, *pieces)) in enumerate(zip(saved, self._saves, strict=True)):
            assert table.dtype == source.dtype
            assert table.shape[2:] == source.shape[1:]
            assert table[0].is_contiguous()
            apart = (t.stride(0) * t.element_size() for t in (table, source))
            saves[place] = table.data_ptr(), source.data_ptr(), *pieces, *apart
        self._invoke(loads, saves, first, last)

    def run_once(self) -> None:
        """Run one step on what its reads hold."""
        self._invoke(np.empty((0, 5), dtype=np.int64), np.empty((0, 7), dtype=np.int64), 0, 1)

    def _invoke(self, loads: npt.NDArray[np.int64], saves: npt.NDArray[np.int64], first: int, last: int) -> None:
        self._run(
            self._operations.ctypes.data, len(self._operations), self._num_trials,
            loads.ctypes.data, len(loads), saves.ctypes.data, len(saves), first, last,
        )  # fmt: skip


def _pieces(tensor: Tensor) -> tuple[int, int, int]:
    """Of how many pieces without a gap a tensor is, the bytes of one, and how far they lie apart.

    Raises:
        UnknownCallError: it is none of rows.
    """
    if tensor.is_contiguous():
        return 1, tensor.numel() * tensor.element_size(), 0
    if tensor.dim() != 2 or tensor.stride(1) != 1:
        raise UnknownCallError("a strided tensor that is read or saved")
    rows, columns = tensor.shape
    return rows, columns * tensor.element_size(), tensor.stride(0) * tensor.element_size()
