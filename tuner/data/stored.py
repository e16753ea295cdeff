"""Examples that stay on disk: rows of a file, read when they are asked for, and prepared then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tuner.errors import DataError

Rows: TypeAlias = slice | npt.NDArray[np.intp]
BLOCK_BYTES = 1 << 23
"""Inputs that are read at once where all are gone through: 8 MiB."""


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
    starts = np.flatnonzero(np.diff(positions, prepend=-2) != 1)  # of runs of rows that follow each other
    whole = found.reshape(-1).view(np.uint8).data
    with Path(array.filename).open("rb", buffering=0) as file:
        for first, end in zip(starts, [*starts[1:], len(positions)], strict=True):
            file.seek(array.offset + int(positions[first]) * size)
            read = file.readinto(whole[first * size : end * size])
            if read != (end - first) * size:
                raise DataError(f"{array.filename} has become shorter while it was read")
    return found


class StreamedInputs:
    """Prepared inputs of examples on disk. It is indexed as the tensor of `Split.inputs` is, and read then."""

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

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Tensor:
        """A tensor of these examples: positions of any shape, a slice or a number."""
        if isinstance(rows, int):
            return self[torch.tensor([rows])][0]
        if isinstance(rows, slice):
            rows = torch.arange(*rows.indices(len(self)))
        positions = rows.cpu().numpy().astype(np.intp)
        found = torch.from_numpy(self._prepare(positions.ravel()))
        return found.view(*positions.shape, *self.shape[1:]).to(self.device)

    def to(self, device: torch.device | str) -> StreamedInputs:
        return StreamedInputs(self._prepare, tuple(self.shape), torch.device(device))


def is_streamed(inputs: object) -> bool:
    """Whether inputs are read from disk batch by batch."""
    return isinstance(inputs, StreamedInputs)
