"""Examples that stay on disk: rows of a file, read when they are asked for, and prepared then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tuner.errors import DataError

Rows: TypeAlias = slice | npt.NDArray[np.intp]
BLOCK_BYTES = 1 << 20
"""Inputs that are read at once where all are gone through: 1 MiB. What is made of larger ones on the way to a window
leaves gaps in the heap that add up: a stream of a million rows came to hold 270 MB more in 14 epochs."""
WINDOW_BYTES = 1 << 25
"""Prepared inputs that are at hand at once, to be trained on in any order: 32 MiB."""
LEAST_IN_WINDOW = 1024
"""Large examples have larger windows, or few would be mixed, up to these bytes."""
_LARGEST_WINDOW_BYTES = 1 << 28
_RUN_BYTES = 1 << 16
"""Examples that lie together on disk are left together up to this size."""
_GAP_BYTES = 1 << 12
"""So much between two examples is read along: it costs less than another read."""
_SPAN_BYTES = 1 << 22


@dataclass(frozen=True, eq=False, slots=True)
class StoredRows:
    """An array (examples, ...) on disk, of which some rows are taken, in some order; stands for `Examples.numbers`."""

    array: npt.NDArray[Any]
    """A memory-mapped array; any other works and stays where it is."""
    row_shape: tuple[int, ...]
    """Of one example as it is handed out."""
    channels_last: bool = False
    """Whether the last axis of an example on disk is the first of `row_shape`."""
    index: npt.NDArray[np.intp] | None = None
    """Positions of the rows; all in their order if None."""

    def __len__(self) -> int:
        return len(self.array) if self.index is None else len(self.index)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.row_shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def take(self, rows: npt.NDArray[np.intp]) -> StoredRows:
        """These rows, still on disk."""
        return replace(self, index=rows if self.index is None else self.index[rows])

    def __getitem__(self, rows: Any) -> npt.NDArray[Any]:
        """Read rows: a position, a slice, or positions in any order."""
        if isinstance(rows, int | np.integer):
            return np.asarray(self[np.array([rows])][0])
        positions = rows if self.index is None else self.index[rows]
        found = _read(self.array, positions)
        if self.channels_last:
            found = np.moveaxis(found, -1, 1)
        return np.ascontiguousarray(found).reshape(len(found), *self.row_shape)


def _read(array: npt.NDArray[Any], rows: Rows) -> npt.NDArray[Any]:
    """Rows of an array. Those of a mapped file are read past the mapping, whose pages would count as memory in use."""
    if not isinstance(array, np.memmap) or array.filename is None or not array.flags.c_contiguous:
        return np.array(array[rows])
    positions = np.arange(len(array))[rows] if isinstance(rows, slice) else rows
    found = np.empty((len(positions), *array.shape[1:]), dtype=array.dtype)
    size = found.nbytes // max(1, len(found))
    if not found.nbytes:
        return found
    steps = np.diff(positions, prepend=positions[0])
    of_span = positions * size // _SPAN_BYTES
    is_start = (steps < 1) | (steps > 1 + _GAP_BYTES // size) | (np.diff(of_span, prepend=-1) != 0)
    starts = np.flatnonzero(is_start)
    with Path(array.filename).open("rb", buffering=0) as file:
        for first, end in zip(starts, [*starts[1:], len(positions)], strict=True):
            low, high = int(positions[first]), int(positions[end - 1]) + 1
            is_run = high - low == end - first
            span = found[first:end] if is_run else np.empty((high - low, *array.shape[1:]), dtype=array.dtype)
            file.seek(array.offset + low * size)
            if file.readinto(span.reshape(-1).view(np.uint8).data) != span.nbytes:
                raise DataError(f"{array.filename} has become shorter while it was read")
            if not is_run:
                found[first:end] = span[positions[first:end] - low]
    return found


def scattered(num_rows: int, row_bytes: int) -> npt.NDArray[np.intp]:
    """All rows, in short runs that come from anywhere in the file, so that a part of them is a fair sample of all.

    The same each time for the same numbers.
    """
    run = max(1, _RUN_BYTES // max(1, row_bytes))
    firsts = np.arange(0, num_rows, run)
    firsts = firsts[np.argsort(np.random.Philox(key=0).random_raw(len(firsts)), kind="stable")]
    rows = (firsts[:, None] + np.arange(run)).ravel()
    return rows[rows < num_rows].astype(np.intp)


class StreamedInputs:
    """Prepared inputs of examples on disk. It is indexed as the tensor of `Split.inputs` is, and read then.

    Examples that follow each other make a window: it is read and prepared whole, and lies in memory that stays where it
    is until the next one takes its place.
    """

    def __init__(
        self,
        prepare: Callable[[npt.NDArray[np.intp]], npt.NDArray[np.float32]],
        shape: tuple[int, ...],
        device: torch.device,
    ) -> None:
        """Stand for inputs.

        Args:
            prepare: Reads and prepares the examples at these positions.
            shape: Of all prepared inputs.
            device: Where batches are wanted.
        """
        self._prepare = prepare
        self.shape = torch.Size(shape)
        self.device = device
        self._example_bytes = max(1, 4 * prod(shape[1:]))
        least = min(LEAST_IN_WINDOW, _LARGEST_WINDOW_BYTES // self._example_bytes)
        self._most = max(1, min(shape[0], max(least, WINDOW_BYTES // self._example_bytes)))
        self._memory: dict[int, Tensor] = {}
        """Of windows, by the number of examples that it can hold."""
        self._held: dict[int, tuple[int, int]] = {}
        """The first of the examples in it, and the one behind the last."""

    def window(self, batch_size: int) -> int:
        """Examples of a window, all but the last: whole batches, or all."""
        if len(self) <= self._most:
            return len(self)
        largest = max(1, self._most // batch_size) * batch_size
        num_windows = -(-len(self) // largest)
        return -(-len(self) // num_windows // batch_size) * batch_size  # all about equal

    def at_hand(self, batch_size: int) -> Tensor:
        """Where `hold` puts windows: the same memory each time."""
        room = max(self._most, self.window(batch_size))
        if room not in self._memory:
            self._memory[room] = torch.empty(room, *self.shape[1:], device=self.device)
        return self._memory[room]

    def hold(self, position: int, batch_size: int) -> tuple[int, int]:
        """Have the window at hand that a position belongs to: its first example, and the one behind its last."""
        size = self.window(batch_size)
        first = position // size * size
        end = min(first + size, len(self))
        self._fill(self.at_hand(batch_size), first, end)
        return first, end

    def _fill(self, memory: Tensor, first: int, end: int) -> None:
        if self._held.get(len(memory)) == (first, end):
            return
        self._held.pop(len(memory), None)
        step = max(1, BLOCK_BYTES // self._example_bytes)
        for low in range(first, end, step):
            high = min(low + step, end)
            memory[low - first : high - first] = torch.from_numpy(self._prepare(np.arange(low, high)))
        self._held[len(memory)] = (first, end)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Tensor:
        """A tensor of these examples: positions of any shape, a slice or a number."""
        if isinstance(rows, int):
            return self[torch.tensor([rows])][0]
        if isinstance(rows, slice):
            first, end, step = rows.indices(len(self))
            if step == 1 and len(self) <= self._most:  # all of them are one window
                self._fill(self.at_hand(1), 0, len(self))
                return self.at_hand(1)[first:end].clone()
            rows = torch.arange(first, end, step)
        for room, (first, end) in self._held.items():
            if rows.numel() and first <= int(rows.min()) and int(rows.max()) < end:
                found = self._memory[room].index_select(0, rows.reshape(-1).to(self.device) - first)
                return found.view(*rows.shape, *self.shape[1:])
        positions = rows.cpu().numpy().astype(np.intp)
        found = torch.from_numpy(self._prepare(positions.ravel()))
        return found.view(*positions.shape, *self.shape[1:]).to(self.device)

    def to(self, device: torch.device | str) -> StreamedInputs:
        return StreamedInputs(self._prepare, tuple(self.shape), torch.device(device))


def is_streamed(inputs: object) -> bool:
    """Whether inputs are read from disk batch by batch."""
    return isinstance(inputs, StreamedInputs)
