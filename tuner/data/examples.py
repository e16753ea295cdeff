"""Examples as read: typed, complete enough to be split and prepared, not yet split or prepared."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tuner.data.groupings import Grouping
from tuner.data.stored import BLOCK_BYTES, StoredRows
from tuner.records import TaskKind

Indices: TypeAlias = npt.NDArray[np.intp]

TRAIN, DEV, TEST = 0, 1, 2
PART_NAMES = ("train", "dev", "test")
LARGEST = np.float64(1e150)  # of 64 bits, so that it can be compared with arrays of fewer
"""The square of a larger number cannot be computed in 64 bits, and with it no standard deviation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TextColumn:
    """A column of categories."""

    name: str
    values: tuple[str, ...]
    """The distinct texts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Examples:
    """Inputs and targets of a number of examples."""

    numbers: npt.NDArray[Any] | StoredRows
    """Numeric inputs, shape (examples, features) with NaN where a value is missing; or (examples, steps, features),
    or images (examples, channels, height, width), which have no missing values."""
    number_names: tuple[str, ...]
    """Names of the features; empty for other shapes than (examples, features)."""
    texts: tuple[TextColumn, ...]
    codes: npt.NDArray[Any] | StoredRows
    """For each example and text column the position of its text in the column's `values`; -1 where it is missing.
    Integers of shape (examples, text columns)."""
    targets: npt.NDArray[Any]
    """Class indices, int64 of shape (examples,); or numbers, or labels of 0 and 1, float64 of shape (examples,
    outputs)."""
    task: TaskKind
    class_names: tuple[str, ...]
    target_names: tuple[str, ...]
    groups: npt.NDArray[np.int64] | None
    """An integer for each group, that depends on the group's name alone; None if the sweep file names no group."""
    times: npt.NDArray[np.float64] | None
    """What orders the examples in time; None if the sweep file names no order."""
    parts: npt.NDArray[np.int8] | None
    """TRAIN, DEV or TEST for each example where they are given apart, in which all examples of the source itself
    are TRAIN; None where the source holds all."""
    notes: tuple[str, ...]
    rows: npt.NDArray[np.int64] | None = None
    """Of each example the row that it was read from, from 1 in its file or array; None where that is not kept."""
    groupings: tuple[Grouping, ...] = ()
    """The columns that scores are reported by."""
    left_out: tuple[str, ...] = ()
    """Columns of a table that are no inputs: targets, groups, what is ignored, empty or only counts the rows."""
    takes_last: bool = False
    """Whether the target is a table's last column, since the sweep file names none."""

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, index: Indices) -> Examples:
        """The examples at these positions, in this order."""
        return dataclasses.replace(
            self,
            numbers=self.numbers.take(index) if isinstance(self.numbers, StoredRows) else self.numbers[index],
            codes=self.codes.take(index) if isinstance(self.codes, StoredRows) else self.codes[index],
            targets=self.targets[index],
            groups=None if self.groups is None else self.groups[index],
            times=None if self.times is None else self.times[index],
            parts=None if self.parts is None else self.parts[index],
            rows=None if self.rows is None else self.rows[index],
            groupings=tuple(grouping.take(index) for grouping in self.groupings),
        )

    def count_codes(self) -> list[npt.NDArray[np.int64]]:
        """For each text column the number of examples without a text, then with each of its `values`."""
        found = [np.zeros(1 + len(column.values), dtype=np.int64) for column in self.texts]
        step = max(1, BLOCK_BYTES // 8 // max(1, len(self.texts)))
        for first in range(0, len(self) if self.texts else 0, step):
            block = self.codes[first : first + step]
            for counts, codes in zip(found, block.T, strict=True):
                counts += np.bincount(codes + 1, minlength=len(counts))
        return found


@dataclass(frozen=True, slots=True)
class Origin:
    """Where each row of joined contents was read, for messages."""

    wheres: tuple[str, ...]
    starts: tuple[int, ...]
    """Position of each content's first row."""
    rows: Indices | None = None
    """Positions of the rows that are left, where some were dropped."""

    def row(self, position: int) -> str:
        """`dev.csv, row 17`: rows count from 1 and leave the header out."""
        read_at = position if self.rows is None else int(self.rows[position])
        content = max(i for i, start in enumerate(self.starts) if start <= read_at)
        return f"{self.wheres[content]}, row {read_at - self.starts[content] + 1}"

    def numbers(self, count: int) -> npt.NDArray[np.int64]:
        """The row of each of so many examples, from 1 in its own content."""
        read_at = np.arange(count) if self.rows is None else self.rows
        starts = np.asarray(self.starts)
        numbers: npt.NDArray[np.int64] = read_at - starts[np.searchsorted(starts, read_at, side="right") - 1] + 1
        return numbers

    def keep(self, rows: Indices) -> Origin:
        """Of these rows only."""
        return dataclasses.replace(self, rows=rows if self.rows is None else self.rows[rows])

    def __str__(self) -> str:
        return self.wheres[0]
