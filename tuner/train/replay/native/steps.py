"""A recorded step in the hands of the compiled kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from tuner.train.replay.native.calls import translate
from tuner.train.replay.native.library import library
from tuner.train.replay.native.side_by_side import side_by_side
from tuner.train.replay.native.translation import OPERATION, Translation, UnknownCallError
from tuner.train.replay.recorder import Call


class NativeStep:
    """A recorded step as the kernels run it."""

    def __init__(
        self,
        calls: Sequence[Call],
        reads: Sequence[Tensor],
        saves: Sequence[Tensor],
        *,
        num_trials: int,
    ) -> None:
        """Translate a recording.

        Args:
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
        parts = self.parts([table[None] for table in tables], first, last, *(table[None] for table in saved))
        run_parts([parts], num_trials=self._num_trials)

    def run_once(self) -> None:
        """Run one step on what its reads hold."""
        parts = Parts(self._operations, np.empty((1, 0, 5), np.int64), np.empty((1, 0, 7), np.int64), 0, 1)
        run_parts([parts], num_trials=self._num_trials)

    def parts(self, tables: Sequence[Tensor], first: int, last: int, *saved: Tensor) -> Parts:
        """The steps from `first` up to, not including, `last`, of several epochs, to be run.

        Args:
            tables: What is loaded: (epochs, steps, ...).
            first: Row of the first step.
            last: Row after the last one.
            saved: Where it is saved: (epochs, K, steps, ...).
        """
        whole = [table if table[0].is_contiguous() else table.contiguous() for table in tables]
        num_epochs = next((len(table) for table in (*whole, *saved)), 1)
        loads = np.empty((num_epochs, len(tables), 5), np.int64)
        for place, (table, (target, *pieces)) in enumerate(zip(whole, self._reads, strict=True)):
            assert table.dtype == target.dtype
            assert table.shape[2:].numel() == target.numel()
            loads[:, place] = target.data_ptr(), 0, *pieces
            loads[:, place, 1] = _addresses(table)
        saves = _saves(self._saves, saved, num_epochs)
        return Parts(self._operations, loads, saves, first, last, alive=[*whole, *saved])


@dataclass(frozen=True, slots=True)
class Parts:
    """Steps of the same operations in each of several epochs."""

    operations: npt.NDArray[np.void]
    loads: npt.NDArray[np.int64]
    """For each epoch, see `Load` in `kernels.c`."""
    saves: npt.NDArray[np.int64]
    """See `Save`."""
    first: int
    last: int
    alive: Sequence[Tensor] = ()
    """What is named by its address."""

    @classmethod
    def of_saves(cls, sources: Sequence[Tensor], saved: Sequence[Tensor]) -> Parts:
        """What saves tensors (K, ...), without a step before, into (epochs, K, ...)."""
        tables = [table.unsqueeze(2) for table in saved]
        saves = _saves([(source, *_pieces(source[0])) for source in sources], tables, len(tables[0]))
        nothing = np.empty(0, dtype=OPERATION)
        return cls(nothing, np.empty((len(saves), 0, 5), np.int64), saves, 0, 1, alive=[*sources, *saved])

    def described(self) -> npt.NDArray[np.int64]:
        """For each epoch, see `Part` in `kernels.c`."""
        found = np.empty((len(self.loads), 8), np.int64)
        found[:] = (
            self.operations.ctypes.data, len(self.operations), 0, self.loads.shape[1], 0, self.saves.shape[1],
            self.first, self.last,
        )  # fmt: skip
        for column, array in ((2, self.loads), (4, self.saves)):
            found[:, column] = array.ctypes.data + array.strides[0] * np.arange(len(array))
        return found


def run_parts(parts: Sequence[Parts], *, num_trials: int) -> None:
    """Run these one after the other in each epoch, all in one call."""
    described = np.stack([own.described() for own in parts], axis=1)
    kernels = library()
    assert kernels is not None
    kernels.tuner_run(described.ctypes.data, described.shape[0] * described.shape[1], num_trials)


_Source = tuple[Tensor, int, int, int]


def _saves(sources: Sequence[_Source], saved: Sequence[Tensor], num_epochs: int) -> npt.NDArray[np.int64]:
    saves = np.empty((num_epochs, len(saved), 7), np.int64)
    for place, (table, (source, *pieces)) in enumerate(zip(saved, sources, strict=True)):
        assert table.dtype == source.dtype
        assert table.shape[3:] == source.shape[1:]
        assert table[0, 0].is_contiguous()
        apart = (step * source.element_size() for step in (table.stride(1), source.stride(0)))
        saves[:, place] = 0, source.data_ptr(), *pieces, *apart
        saves[:, place, 0] = _addresses(table)
    return saves


def _addresses(table: Tensor) -> npt.NDArray[np.int64]:
    """Of each epoch's own."""
    found: npt.NDArray[np.int64] = table.data_ptr() + table.stride(0) * table.element_size() * np.arange(len(table))
    return found


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
