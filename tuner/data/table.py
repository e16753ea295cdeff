"""From tables with named columns to examples: which columns are inputs, and which rows can be used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tuner.data.column_kinds import kinds_of, matching, nearest, with_categories, with_dates_expanded
from tuner.data.columns import ColumnSurvey, NumberColumn, as_codes, as_numbers, group_codes, order_times
from tuner.data.content import Table
from tuner.data.examples import TRAIN, Examples, Indices, Origin, TextColumn
from tuner.data.groupings import groupings_of
from tuner.data.preparation import MOST_CATEGORIES, too_many_categories
from tuner.data.targets import encode_targets
from tuner.data.text import clean, quoted
from tuner.data.unusable import UnusableColumns
from tuner.errors import DataError
from tuner.spec.model import DataSpec

_BLOCK_CELLS = 1 << 20
_UNNAMED = re.compile(r"(Unnamed: \d+|column_\d+)?")
_COUNTER = re.compile(r"(Unnamed: \d+|index|id|row|row_?id)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnFacts:
    """What must be known of all rows before columns get their roles."""

    names: tuple[str, ...]
    empty: frozenset[str]
    """Columns without any value."""
    counters: frozenset[str]
    """Columns that only count the rows."""


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns of a table by what they are for."""

    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    notes: tuple[str, ...]


def examples_from_tables(tables: Sequence[Table], *, parts: Sequence[int], data: DataSpec) -> Examples:
    """Join tables of the same columns and type their columns.

    Args:
        tables: The source, and what is given apart from it.
        parts: TRAIN, DEV or TEST for each.
        data: Says which columns are for what, and what to do with missing values.

    Raises:
        DataError: a column is missing, or holds what a network cannot take.
    """
    frames = [_with_columns_of(table, tables[0]) for table in tables]
    roles = roles_of(_facts(frames[0]), data, where=tables[0].where)
    by = matching("report_by", data.report_by, tuple(frames[0].columns), where=tables[0].where)
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    starts = np.cumsum([0, *(len(f) for f in frames[:-1])])
    origin = Origin(tuple(t.where for t in tables), tuple(int(s) for s in starts))
    part_of_row = np.repeat(np.asarray(parts, dtype=np.int8), [len(f) for f in frames])
    usable = UsableRows(roles, data)
    kept = usable.among(frame, origin)
    dropped = usable.notes(origin)
    if len(kept) < len(frame):  # or else it would be copied
        frame, origin, part_of_row = frame.iloc[kept], origin.keep(kept), part_of_row[kept]

    kinds = kinds_of(data, tuple(frame.columns), roles.targets, where=tables[0].where)
    frame, names, expanded = with_categories(frame, kinds), roles.inputs, list[str]()
    if data.dates == "expand":
        frame, names, expanded = with_dates_expanded(frame, [n for n in names if n not in kinds], origin)
        names = (*names, *(n for n in roles.inputs if n in kinds))
    columns, unusable = [], UnusableColumns(data.ignore)
    for name in names:
        with unusable.looking_at(name):
            survey = ColumnSurvey(name, kind=kinds.get(name))
            survey.add(frame[name], in_source=part_of_row == TRAIN, origin=origin)
            columns.append(column := survey.verdict(origin))
            if isinstance(column, TextColumn) and len(column.values) > MOST_CATEGORIES:
                unusable.doubt(name, too_many_categories(name, len(column.values)))
    unusable.refuse()
    inputs, used = InputColumns(columns), frozenset(roles.inputs)
    targets = encode_targets(
        target_values(frame, roles.targets), task=data.task, names=roles.targets, class_names=(), origin=origin
    )
    return Examples(
        numbers=inputs.numbers(frame),
        number_names=inputs.number_names,
        texts=inputs.texts,
        codes=inputs.codes(frame),
        targets=targets.values,
        task=targets.task,
        class_names=targets.class_names,
        target_names=roles.targets,
        groups=None if data.group is None else group_codes(frame[data.group], origin),
        times=None if data.order is None else order_times(frame[data.order], origin),
        parts=part_of_row if len(tables) > 1 else None,
        rows=origin.numbers(len(frame)),
        groupings=groupings_of(frame, by),
        left_out=tuple(name for name in frames[0].columns if name not in used),
        notes=(
            *(note for table in tables for note in table.notes),
            *roles.notes,
            *dropped,
            *expanded,
            *targets.notes,
        ),
    )


class InputColumns:
    """Columns of inputs whose kinds are known; reads frames, which may be parts of a table, as arrays."""

    def __init__(self, columns: Sequence[NumberColumn | TextColumn]) -> None:
        self.number_names = tuple(c.name for c in columns if isinstance(c, NumberColumn))
        self.texts = tuple(c for c in columns if isinstance(c, TextColumn))
        self._values = [{text: code for code, text in enumerate(column.values)} for column in self.texts]

    def numbers(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Shape (rows, number columns)."""
        found = np.empty((len(frame), len(self.number_names)))
        places = frame.columns.get_indexer(pd.Index(self.number_names))
        dtypes = frame.dtypes.to_numpy()[places]
        plain = np.array([isinstance(dtype, np.dtype) and dtype.kind in "iufb" for dtype in dtypes], dtype=bool)
        step = max(1, _BLOCK_CELLS // max(1, len(places)))
        for first in range(0, len(frame) if plain.any() else 0, step):  # many columns at once, and not twice the table
            rows = slice(first, first + step)
            found[rows, plain] = frame.iloc[rows, places[plain]].to_numpy(dtype=np.float64)
        for place in np.flatnonzero(~plain):
            found[:, place] = as_numbers(frame.iloc[:, places[place]])
        return found

    def codes(self, frame: pd.DataFrame) -> npt.NDArray[np.int16]:
        """Shape (rows, text columns)."""
        found = np.empty((len(frame), len(self.texts)), dtype=np.int16)
        for column, codes, values in zip(self.texts, found.T, self._values, strict=True):
            codes[:] = as_codes(frame[column.name], values)
        return found


class UsableRows:
    """Which rows of a table to use, which is gone through as a whole or in parts."""

    def __init__(self, roles: Roles, data: DataSpec) -> None:
        self._roles = roles
        self._missing = data.missing
        self._num_rows = self._num_kept = self._num_incomplete = self._num_without_target = self._num_missing = 0
        self._first = ""
        """Row and column of the first value that is missing."""

    def among(self, frame: pd.DataFrame, origin: Origin) -> Indices:
        """Positions of the rows of a frame to use."""
        columns = [*self._roles.inputs, *self._roles.targets]
        missing = frame[columns].isna().to_numpy()
        of_inputs, of_targets = np.split(missing, [len(self._roles.inputs)], axis=1)
        no_target, no_input = of_targets.any(axis=1), of_inputs.any(axis=1)
        self._num_missing += int(missing.sum())
        if self._num_missing and not self._first:
            row = int(missing.any(axis=1).argmax())
            self._first = f"{origin.row(row)}: column {columns[int(missing[row].argmax())]}"
        incomplete = no_input & ~no_target if self._missing == "drop" else np.zeros(len(frame), dtype=bool)
        kept = np.flatnonzero(~(no_target | incomplete))
        self._num_rows += len(frame)
        self._num_kept += len(kept)
        self._num_without_target += int(no_target.sum())
        self._num_incomplete += int(incomplete.sum())
        return kept

    def notes(self, origin: Origin) -> tuple[str, ...]:
        """Sentences on the rows that are left out, when all have been gone through.

        Raises:
            DataError: no row is left, or a value is missing where none may be.
        """
        if self._missing == "error" and self._num_missing:
            raise DataError(
                f"{self._first} is empty ({self._num_missing:,} missing in all); "
                "fill them, or set missing: mean or missing: drop"
            )
        if not self._num_kept:
            raise DataError(f"{origin}: every row has a missing value; nothing is left to train on")
        rows = f"of {self._num_rows:,} row{'s' if self._num_rows != 1 else ''}"
        notes = []
        if self._num_without_target:
            notes.append(f"dropped {self._num_without_target:,} {rows} without a target")
        if self._num_incomplete:
            notes.append(f"dropped {self._num_incomplete:,} {rows} with a missing value (missing: drop)")
        return tuple(notes)


def _with_columns_of(table: Table, first: Table) -> pd.DataFrame:
    """The table's columns in the first one's order, with text names."""
    frame = with_text_names(table.frame, where=table.where)
    wanted = first.frame.columns.map(_name)
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise DataError(f"{table.where}: there is no column {quoted(missing[0])}, which {first.where} has")
    return frame[list(wanted)]


def with_text_names(frame: pd.DataFrame, *, where: str) -> pd.DataFrame:
    """The frame with names of columns that can be written in a sweep file.

    Raises:
        DataError: it has no rows, or two columns are called the same.
    """
    frame = frame.rename(columns=_name)
    if len(frame) == 0:
        raise DataError(f"{where}: there are no rows")
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise DataError(f"{where}: two columns are called {quoted(repeated[0])}; rename one")
    return frame


def _name(column: object) -> str:
    return clean(str(column))


def _facts(frame: pd.DataFrame) -> ColumnFacts:
    return ColumnFacts(
        names=tuple(frame.columns),
        empty=frozenset(name for name in frame.columns if frame[name].isna().all()),
        counters=frozenset(name for name in frame.columns if may_count(name) and _counts_rows(frame[name])),
    )


def may_count(name: str) -> bool:
    """Whether a column is called as one that only counts the rows."""
    return _COUNTER.fullmatch(name) is not None


def roles_of(facts: ColumnFacts, data: DataSpec, *, where: str) -> Roles:
    """What each column is for.

    Raises:
        DataError: a column that the sweep file names is not there or has two roles, or no input is left.
    """
    columns = facts.names
    ignored = matching("ignore", data.ignore, columns, where=where)
    named = [("group", data.group), ("order", data.order), *(("target", name) for name in _as_list(data.target))]
    for key, name in named:
        if name is not None and name not in columns:
            raise DataError(f"data.{key}: {where} has no column {quoted(name)}; {nearest(name, columns)}")
    not_inputs = {data.group, data.order, *ignored}
    notes = []
    for name in columns:
        if name in not_inputs or name in _as_list(data.target):
            continue
        if name in facts.empty:
            not_inputs.add(name)
            notes.append(f"column {name or '(unnamed)'} is empty and left out")
        elif name in facts.counters:
            not_inputs.add(name)
            notes.append(f"column {name or '(unnamed)'} only counts the rows and is left out")
    last = columns[-1]
    if not data.target and last in not_inputs and last in facts.empty and not _UNNAMED.fullmatch(last):
        raise DataError(
            f"{where}: the last column, {quoted(last)}, would be predicted and is empty; fill it, or name the column "
            "to predict as data.target"
        )
    if not data.target and last in {data.group, data.order, *ignored}:
        key = "ignore" if last in ignored else "group" if last == data.group else "order"
        raise DataError(
            f"data.{key}: names {quoted(last)}, the last column of {where}, which is predicted unless data.target "
            "names another; name the column to predict as data.target"
        )
    left = [name for name in columns if name not in not_inputs]
    targets = _as_list(data.target) or left[-1:]
    if len(set(targets)) < len(targets):
        twice = next(name for name in targets if targets.count(name) > 1)
        raise DataError(f"data.target: names {quoted(twice)} twice; name each column once")
    clash = [name for name in targets if name in not_inputs]
    if clash:
        raise DataError(f'data.target: "{clash[0]}" is also named by group, order or ignore; a column has one role')
    inputs = tuple(name for name in left if name not in targets)
    if not inputs:
        hint = "; columns are separated by commas, semicolons, tabs, bars or spaces" if len(columns) == 1 else ""
        found = ", ".join(columns)
        raise DataError(f"{where}: no column is left as an input beside the target; found {found}{hint}")
    return Roles(inputs, tuple(targets), tuple(notes))


def _as_list(target: str | list[str] | None) -> list[str]:
    if target is None:
        return []
    return [target] if isinstance(target, str) else list(target)


def _counts_rows(column: pd.Series[Any]) -> bool:
    if column.dtype.kind not in "iu":
        return False
    return len(column) > 1 and column.iloc[0] in (0, 1) and bool((column.diff().iloc[1:] == 1).all())


def target_values(frame: pd.DataFrame, names: tuple[str, ...]) -> npt.NDArray[Any]:
    """(rows,) or (rows, targets); numbers as such, everything else as objects."""
    columns = []
    for name in names:
        column = frame[name]
        if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
            columns.append(column.to_numpy())
        else:
            columns.append(column.to_numpy(dtype=object))
    if len(columns) == 1:
        return columns[0]
    if any(column.dtype.kind == "O" for column in columns):
        columns = [column.astype(object) for column in columns]
    return np.stack(columns, axis=1)
