"""What a sweep file says of columns: which are categories or numbers, which are left out, and what becomes of dates."""

from __future__ import annotations

import datetime
import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Literal, TypeAlias

import pandas as pd

from tuner.data.examples import Origin
from tuner.data.text import DATE, clean, quoted
from tuner.errors import DataError
from tuner.spec.model import DataSpec

Kind: TypeAlias = Literal["categorical", "numeric"]

DATE_PARTS = ("year", "month", "weekday", "days")
"""What a date is expanded to: weekday 0 is Monday, days are those since 1970, with their fractions."""


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f'did you mean "{near[0]}"?'
    return "there are " + ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")


def matching(key: str, names: Sequence[str], columns: Sequence[str], *, where: str) -> list[str]:
    """The columns that names or patterns such as `pixel_*` stand for, in the table's order.

    Raises:
        DataError: one of them stands for none.
    """
    found: set[str] = set()
    for name in names:
        own = {name} & set(columns) or {column for column in columns if fnmatchcase(column, name)}
        if not own:
            what = "no column that matches" if re.search(r"[*?\[]", name) else "no column"
            raise DataError(f"data.{key}: {where} has {what} {quoted(name)}; {nearest(name, columns)}")
        found |= own
    return [column for column in columns if column in found]


def kinds_of(data: DataSpec, columns: Sequence[str], targets: Sequence[str], *, where: str) -> dict[str, Kind]:
    """The columns that the sweep file says to be categories, or numbers.

    Raises:
        DataError: it names no column, or one as both, or a target.
    """
    found: dict[str, Kind] = {}
    for kind in ("categorical", "numeric"):
        for name in matching(kind, getattr(data, kind), columns, where=where):
            if name in targets:
                task = "classification" if kind == "categorical" else "regression"
                raise DataError(f"data.{kind}: {quoted(name)} is the target, whose kind is data.task: {task}")
            if name in found:
                raise DataError(f"{quoted(name)} is named by data.categorical and data.numeric; a column has one kind")
            found[name] = kind
    return found


def as_category(value: object) -> object:
    """A value as the name of its category: 1, 1.0 and "1" are the same one; a missing value stays as it is."""
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    text = clean(str(value))
    if re.fullmatch(r"[-+]?\d+", text):
        return str(int(text))
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if math.isfinite(number) and number == int(number) else repr(number)


def with_categories(frame: pd.DataFrame, kinds: Mapping[str, Kind]) -> pd.DataFrame:
    """The frame with texts in the columns that are said to be categories."""
    named = [name for name in frame.columns if kinds.get(name) == "categorical"]
    return frame.assign(**{n: frame[n].astype(object).map(as_category).astype(object) for n in named})


def with_dates_expanded(
    frame: pd.DataFrame, inputs: Sequence[str], origin: Origin
) -> tuple[pd.DataFrame, tuple[str, ...], list[str]]:
    """The frame with numbers for each input that holds dates, the names of all inputs, and notes of what was done.

    Raises:
        DataError: a value among dates is none, or not as `2024-12-31` or `2024-12-31 18:00`.
    """
    names: list[str] = []
    notes = []
    for name in inputs:
        if not holds_dates(frame[name]):
            names.append(name)
            continue
        parts = _date_parts(frame[name], origin)
        frame = frame.assign(**{f"{name}.{part}": values for part, values in parts.items()})
        names += [f"{name}.{part}" for part in parts]
        notes.append(f"column {name} holds dates, and is expanded to {', '.join(parts)}")
    return frame, tuple(names), notes


def holds_dates(column: pd.Series[Any]) -> bool:
    """Whether a column's first values are dates."""
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    values = column.dropna()
    if pd.api.types.is_numeric_dtype(column) or not len(values):
        return False
    few = values.iloc[:50]
    return all(isinstance(v, datetime.date) or bool(DATE.fullmatch(clean(str(v)))) for v in few)


def _date_parts(column: pd.Series[Any], origin: Origin) -> dict[str, pd.Series[Any]]:
    times = column
    if not pd.api.types.is_datetime64_any_dtype(column):
        texts = column.astype(object).map(lambda v: None if v is None or v != v else clean(str(v)))
        times = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
        if (wrong := times.isna() & column.notna()).any():
            row = int(wrong.to_numpy().argmax())
            raise DataError(
                f"{origin.row(row)}: column {column.name} holds {quoted(column.iloc[row])} among dates, which must be "
                f"as 2024-12-31 or 2024-12-31 18:00; write them so, or add ignore: [{column.name}]"
            )
    elif times.dt.tz is None:
        times = times.dt.tz_localize("UTC")
    days = (times - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)
    of_date = {"year": times.dt.year, "month": times.dt.month, "weekday": times.dt.day_of_week, "days": days}
    return {part: of_date[part].astype("float64") for part in DATE_PARTS}
