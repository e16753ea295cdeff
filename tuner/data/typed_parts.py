"""The parts of a table that is larger than memory, in which each column has one type from the first row to the last."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from tuner.data.content import StoredTable
from tuner.data.examples import Origin
from tuner.data.table import ColumnFacts, may_count, with_text_names
from tuner.errors import DataError

_EXACT = 1 << 53
"""A float64 is any whole number below this."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a table that follow each other."""

    frame: pd.DataFrame
    origin: Origin
    first: int
    """Position of the first row in the table."""


class TypedParts:
    """The parts of a table, in which each column has one type from first to last.

    The file is read once, if the types that its parts were read with serve: they are then kept on disk.
    """

    def __init__(self, table: StoredTable, *, spool: IO[bytes], room: Path) -> None:
        """Go through all rows for the types, and for what decides the columns' roles.

        Args:
            table: The source.
            spool: An empty file for the parts, which is closed if they are not to be there.
            room: Folder on the same disk.
        """
        self._table = table
        self.where = table.where
        self._names: dict[str, str] = {}
        """The columns' names by those that they have in the file."""
        self._types: dict[str, str] = {}
        self.texts: set[str] = set()
        """Columns that are not numbers in every part."""
        self._kept = _KeptFrames(spool, room)
        self.facts = self._survey()

    def __iter__(self) -> Iterator[Part]:
        first = 0
        for frame in self._kept if self._kept.is_whole else self._read_anew():
            kinds = {name: dtype.kind for name, dtype in frame.dtypes.items()}
            numbers = [n for n, t in self._types.items() if t == "float64" and kinds[n] in "iu"]
            if numbers:
                frame = frame.astype(dict.fromkeys(numbers, "float64"))
            yield Part(frame, Origin((self.where,), (-first,)), first)
            first += len(frame)

    def _read_anew(self) -> Iterator[pd.DataFrame]:
        by_raw_name = {raw: self._types[name] for raw, name in self._names.items() if name in self._types}
        for read in self._table.read(by_raw_name):
            yield with_text_names(read, where=self.where)

    def _survey(self) -> ColumnFacts:
        kinds: dict[str, set[str]] = {}
        inexact: set[str] = set()
        """Columns with whole numbers that, parsed as others, may be another number in the last digit."""
        counters: dict[str, int | None] = {}
        """The last number of each column that has only counted so far, None if it does not."""
        for read in self._table.read({}):
            frame = with_text_names(read, where=self._table.where)
            self._names = dict(zip(map(str, read.columns), frame.columns, strict=True))
            self._kept.add(frame)
            inexact |= _inexact(frame)
            for name, kind in _kinds(frame).items():
                kinds.setdefault(name, set()).add(kind)
                if may_count(name):
                    counters[name] = _counted(frame[name], counters.get(name, -1))
        if not kinds:
            raise DataError(f"{self._table.where}: there are no rows")
        for name, found in kinds.items():
            if (joined := _joined(found)) is not None:
                self._types[name] = joined
                if joined == "str" or name in inexact:
                    self._kept.let_go()
            if "text" in found or joined == "str":
                self.texts.add(name)
        return ColumnFacts(
            names=tuple(kinds),
            empty=frozenset(name for name, found in kinds.items() if found == {"empty"}),
            counters=frozenset(name for name, last in counters.items() if last is not None and last > 0),
        )


class _KeptFrames:
    """Frames in a file, for as long as its disk has room for the same once more."""

    def __init__(self, file: IO[bytes], room: Path) -> None:
        self._file, self._room = file, room
        self._count = 0
        self.is_whole = True
        """Whether all that were added are there."""

    def add(self, frame: pd.DataFrame) -> None:
        """Write one behind the others."""
        if not self.is_whole:
            return
        try:
            pickle.dump(frame, self._file, protocol=5)
            full = shutil.disk_usage(self._room).free < self._file.tell()
        except OSError:
            full = True
        if full:
            self.let_go()
        self._count += 1

    def let_go(self) -> None:
        """Give the room back."""
        self._file.close()
        self.is_whole = False

    def __iter__(self) -> Iterator[pd.DataFrame]:
        self._file.seek(0)
        for _ in range(self._count):
            yield pickle.load(self._file)


def _inexact(frame: pd.DataFrame) -> set[str]:
    """The columns with whole numbers that are no float64."""
    places = np.flatnonzero([isinstance(dtype, np.dtype) and dtype.kind in "iu" for dtype in frame.dtypes])
    values = frame.iloc[:, places].to_numpy()
    is_beyond = ((values >= _EXACT) | (values <= -_EXACT)).any(axis=0)
    return {str(frame.columns[place]) for place in places[is_beyond]}


def _kinds(frame: pd.DataFrame) -> dict[str, str]:
    """What the rows of each column were read as."""
    dtypes = [dtype.kind if isinstance(dtype, np.dtype) else "" for dtype in frame.dtypes]
    is_empty = np.zeros(len(dtypes), dtype=bool)
    floats = np.flatnonzero([kind == "f" for kind in dtypes])
    is_empty[floats] = np.isnan(frame.iloc[:, floats].to_numpy()).all(axis=0)  # at once: a table may have many columns
    of_floats = {True: "empty", False: "float"}
    return {
        name: of_floats[bool(is_empty[place])] if kind == "f" else _kind(frame.iloc[:, place])
        for place, (name, kind) in enumerate(zip(frame.columns, dtypes, strict=True))
    }


def _kind(column: pd.Series[Any]) -> str:
    """What the rows of a column were read as."""
    if column.dtype.kind in "iu":
        return "int" if column.dtype.kind == "i" else "unsigned"
    if column.isna().all():
        return "empty"
    if pd.api.types.is_bool_dtype(column):
        return "bool"
    if pd.api.types.is_numeric_dtype(column):
        return "float"
    return "bool" if pd.api.types.infer_dtype(column, skipna=True) == "boolean" else "text"


def _joined(kinds: set[str]) -> str | None:
    """The type of a column, read as a whole, whose parts were read as these kinds; None if they have it already.

    A number in a column of text must be read again: whether 1 was written 1.0 is not seen in a part.
    """
    if len(kinds) == 1 or kinds == {"empty", "bool"}:
        return None
    return "float64" if kinds <= {"empty", "int", "unsigned", "float"} else "str"


def _counted(column: pd.Series[Any], last: int | None) -> int | None:
    """The last number of a column of whole numbers that only counts, from 0 or 1; None if it does anything else."""
    if last is None or column.dtype.kind not in "iu":
        return None
    values = column.to_numpy()
    begins = values[0] in (0, 1) if last < 0 else values[0] == last + 1
    return int(values[-1]) if begins and bool((np.diff(values) == 1).all()) else None
