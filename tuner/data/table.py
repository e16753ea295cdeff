"""From tables with named columns to examples: which columns are inputs, and which rows can be used."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tuner.data.columns import group_codes, order_times, typed_column
from tuner.data.content import Table
from tuner.data.examples import TRAIN, Examples, Indices, Origin, TextColumn
from tuner.data.targets import encode_targets
from tuner.data.text import clean, quoted
from tuner.errors import DataError
from tuner.spec.model import DataSpec

_UNNAMED = re.compile(r"(Unnamed: \d+|column_\d+)?")
_COUNTER = re.compile(r"(Unnamed: \d+|index|id|row|row_?id)?", re.IGNORECASE)


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
    roles = _roles(frames[0], data, where=tables[0].where)
    frame = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
    starts = np.cumsum([0, *(len(f) for f in frames[:-1])])
    origin = Origin(tuple(t.where for t in tables), tuple(int(s) for s in starts))
    part_of_row = np.repeat(np.asarray(parts, dtype=np.int8), [len(f) for f in frames])
    kept, dropped = _usable_rows(frame, roles, data, origin)
    frame, origin, part_of_row = frame.iloc[kept], origin.keep(kept), part_of_row[kept]

    in_source = part_of_row == TRAIN
    columns = [typed_column(frame[name], in_source=in_source, origin=origin) for name in roles.inputs]
    numbers = [c for c in columns if not isinstance(c, TextColumn)]
    targets = encode_targets(
        _target_values(frame, roles.targets), task=data.task, names=roles.targets, class_names=(), origin=origin
    )
    return Examples(
        numbers=np.stack([c.values for c in numbers], axis=1) if numbers else np.empty((len(frame), 0)),
        number_names=tuple(c.name for c in numbers),
        texts=tuple(c for c in columns if isinstance(c, TextColumn)),
        targets=targets.values,
        task=targets.task,
        class_names=targets.class_names,
        target_names=roles.targets,
        groups=None if data.group is None else group_codes(frame[data.group], origin),
        times=None if data.order is None else order_times(frame[data.order], origin),
        parts=part_of_row if len(tables) > 1 else None,
        notes=(
            *(note for table in tables for note in table.notes),
            *roles.notes,
            *dropped,
            *targets.notes,
        ),
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return "there are " + ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")


def _with_columns_of(table: Table, first: Table) -> pd.DataFrame:
    """The table's columns in the first one's order, with text names."""
    frame = table.frame.rename(columns=_name)
    if len(frame) == 0:
        raise DataError(f"{table.where}: there are no rows")
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise DataError(f"{table.where}: two columns are called {quoted(repeated[0])}; rename one")
    wanted = first.frame.columns.map(_name)
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise DataError(f"{table.where}: there is no column {quoted(missing[0])}, which {first.where} has")
    return frame[list(wanted)]


def _name(column: object) -> str:
    return clean(str(column))


def _roles(frame: pd.DataFrame, data: DataSpec, *, where: str) -> Roles:
    named = [("group", data.group), ("order", data.order), *(("ignore", name) for name in data.ignore)]
    for key, name in (*named, *(("target", name) for name in _as_list(data.target))):
        if name is not None and name not in frame.columns:
            raise DataError(f"data.{key}: {where} has no column {quoted(name)}; {nearest(name, frame.columns)}")
    not_inputs = {data.group, data.order, *data.ignore}
    notes = []
    for name in frame.columns:
        if name in not_inputs or name in _as_list(data.target):
            continue
        if frame[name].isna().all():
            not_inputs.add(name)
            notes.append(f"column {name or '(unnamed)'} is empty and left out")
        elif _COUNTER.fullmatch(name) and _counts_rows(frame[name]):
            not_inputs.add(name)
            notes.append(f"column {name or '(unnamed)'} only counts the rows and is left out")
    last = frame.columns[-1]
    if not data.target and last in not_inputs and frame[last].isna().all() and not _UNNAMED.fullmatch(last):
        raise DataError(
            f"{where}: the last column, {quoted(last)}, would be predicted and is empty; fill it, or name the column "
            "to predict as data.target"
        )
    left = [name for name in frame.columns if name not in not_inputs]
    targets = _as_list(data.target) or left[-1:]
    if len(set(targets)) < len(targets):
        twice = next(name for name in targets if targets.count(name) > 1)
        raise DataError(f"data.target: names {quoted(twice)} twice; name each column once")
    clash = [name for name in targets if name in not_inputs]
    if clash:
        raise DataError(f'data.target: "{clash[0]}" is also named by group, order or ignore; a column has one role')
    inputs = tuple(name for name in left if name not in targets)
    if not inputs:
        hint = "; columns are separated by commas, semicolons, tabs, bars or spaces" if len(frame.columns) == 1 else ""
        found = ", ".join(frame.columns)
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


def _usable_rows(frame: pd.DataFrame, roles: Roles, data: DataSpec, origin: Origin) -> tuple[Indices, tuple[str, ...]]:
    """Positions of the rows to use, and notes about the others."""
    missing = frame[list(roles.inputs)].isna().to_numpy()
    no_target = frame[list(roles.targets)].isna().any(axis=1).to_numpy()
    if data.missing == "error" and (missing.any() or no_target.any()):
        row = int(np.flatnonzero(missing.any(axis=1) | no_target)[0])
        column = next(name for name in (*roles.inputs, *roles.targets) if pd.isna(frame[name].iloc[row]))
        total = int(missing.sum() + frame[list(roles.targets)].isna().to_numpy().sum())
        raise DataError(
            f"{origin.row(row)}: column {column} is empty ({total:,} missing in all); "
            "fill them, or set missing: mean or missing: drop"
        )
    incomplete = missing.any(axis=1) & ~no_target if data.missing == "drop" else np.zeros(len(frame), dtype=bool)
    notes = []
    if no_target.any():
        notes.append(f"dropped {_rows(no_target)} without a target")
    if incomplete.any():
        notes.append(f"dropped {_rows(incomplete)} with a missing value (missing: drop)")
    kept = np.flatnonzero(~(no_target | incomplete))
    if not len(kept):
        raise DataError(f"{origin}: every row has a missing value; nothing is left to train on")
    return kept, tuple(notes)


def _rows(mask: npt.NDArray[np.bool_]) -> str:
    count = int(mask.sum())
    return f"{count:,} of {len(mask):,} row{'s' if len(mask) != 1 else ''}"


def _target_values(frame: pd.DataFrame, names: tuple[str, ...]) -> npt.NDArray[Any]:
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
