"""What one column of a table holds: numbers, categories, groups or times; anything else is refused with a remedy."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tuner.data.column_kinds import Kind
from tuner.data.examples import LARGEST, Origin, TextColumn
from tuner.data.fingerprint import hash_texts
from tuner.data.preparation import MOST_CATEGORIES
from tuner.data.text import DATE, clean, quoted
from tuner.errors import DataError

_MOST_MIXED_CATEGORIES = 20
"""A column of numbers and texts, such as 0, 1, 2, 3+, holds categories if it has at most so many distinct values."""
MOST_DISTINCT_TEXTS = 10_000
"""Of all examples together; a column with more is refused before the training part is known."""

_AMOUNT = re.compile(r"[$€£¥]?\s*[-+]?\d+([.,]\d+)*\s*[%$€£¥]?")
"""A number as people write it: 1,5 or 1,234.50 or 12% or $3."""
_DATES = (datetime.date, datetime.time, pd.Timestamp, pd.Timedelta, pd.Period)


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A column of numbers."""

    name: str


class ColumnSurvey:
    """Finds out what a column of inputs holds, from its rows as a whole or in parts that follow each other.

    What it keeps does not grow with the number of rows.
    """

    def __init__(self, name: str, *, kind: Kind | None = None) -> None:
        self._name = name
        self._kind = kind
        """What the sweep file says that it holds: categories have texts, whatever they look like."""
        self._texts: dict[str, None] = {}
        """Distinct texts in the order in which they were met."""
        self._too_many = False
        self._only_numbers = True
        self._only_amounts = True
        self._num_rows = 0
        self._num_strays = 0
        self._strays_in_source = False
        self._first: dict[str, tuple[str, str]] = {}
        """Row and text of the first infinite number, stray text, and number that is not written as one."""

    def add(self, column: pd.Series[Any], *, in_source: npt.NDArray[np.bool_], origin: Origin) -> None:
        """Look at further rows.

        Args:
            column: The rows.
            in_source: Which of them are not given apart; where these are all numbers, the others must be too.
            origin: Of the rows, for messages.

        Raises:
            DataError: they hold infinite or too large numbers, lists, dates or characters that no text has.
        """
        self._num_rows += len(column)
        if self._kind != "categorical" and _is_numeric(column):
            _check_size(self._name, as_numbers(column), origin)
            return
        codes, values = self._distinct(column, origin)
        if all(isinstance(v, bool | int | float | Decimal) for v in values):
            _check_size(self._name, _looked_up(np.array([float(v) for v in values]), codes), origin)
            return
        self._only_numbers = False
        texts = [str(v) for v in values]
        numbers = np.array([_number_or_nan(text) for text in texts])
        is_stray = np.isnan(numbers)
        strays = (codes >= 0) & is_stray[codes]
        self._num_strays += int(np.count_nonzero(strays))
        self._strays_in_source |= bool(strays[in_source].any())
        is_odd = np.array([s and text.count(".") < 2 for s, text in zip(is_stray, texts, strict=True)])
        for what, marked in (("stray", is_stray), ("odd", is_odd), ("infinite", np.isinf(numbers))):
            self._remember(what, (codes >= 0) & marked[codes], codes, texts, origin)
        self._only_amounts = self._only_amounts and all(_AMOUNT.fullmatch(text) for text in texts)
        for text in texts:
            if len(self._texts) > MOST_DISTINCT_TEXTS:
                self._too_many = True
                break
            self._texts.setdefault(text)

    def _distinct(self, column: pd.Series[Any], origin: Origin) -> tuple[npt.NDArray[np.intp], list[Any]]:
        """For each row the position of its value, -1 where it is missing; and the values."""
        try:
            codes, found = pd.factorize(column.astype(object))
        except TypeError:
            raise DataError(
                f"{origin}: column {self._name} holds lists or other nested values; {_remedy(self._name)}"
            ) from None
        if any(isinstance(value, str) and "\0" in value for value in found):
            raise DataError(f"{origin}: column {self._name} holds NUL bytes; save the file as UTF-8 text")
        if any(isinstance(v, _DATES) for v in found):
            raise _holds_dates(self._name, origin)
        return codes, [clean(value) if isinstance(value, str) else value for value in found]

    def _remember(
        self, what: str, rows: npt.NDArray[np.bool_], codes: npt.NDArray[np.intp], texts: list[str], origin: Origin
    ) -> None:
        if what not in self._first and rows.any():
            row = int(rows.argmax())
            self._first[what] = origin.row(row), texts[codes[row]]

    def verdict(self, origin: Origin) -> NumberColumn | TextColumn:
        """What the column is, when all rows have been looked at.

        Raises:
            DataError: it holds dates, numbers written for people, numbers among which a text has strayed, or a text
                of its own in nearly each row.
        """
        name = self._name
        if self._kind == "categorical":
            return self._categories()
        if self._only_numbers:
            return NumberColumn(name)
        if all(DATE.fullmatch(text) for text in islice(self._texts, 50)):
            raise _holds_dates(name, origin)
        if self._only_amounts and "odd" in self._first:
            row, text = self._first["odd"]
            raise DataError(
                f"{row}: column {name} holds {quoted(text)}, a number that is not written as one; write 1234.5, "
                f"without signs of currency, percent or thousands and with a decimal point, or {_remedy(name)}"
            )
        if "stray" not in self._first:
            if "infinite" in self._first:
                raise is_beyond(name, self._first["infinite"][0], np.inf)
            return NumberColumn(name)
        mostly_numbers = len(self._texts) > _MOST_MIXED_CATEGORIES and 2 * self._num_strays < self._num_rows
        if mostly_numbers or not self._strays_in_source or self._kind == "numeric":
            row, text = self._first["stray"]
            raise DataError(
                f"{row}: column {name} holds {quoted(text)} among numbers; correct it, leave it empty if the value is "
                f"unknown, or {_remedy(name)}"
            )
        return self._categories()

    def _categories(self) -> TextColumn:
        name = self._name
        if self._too_many:
            raise DataError(
                f"column {name} holds more than {MOST_DISTINCT_TEXTS:,} distinct texts, and {MOST_CATEGORIES} at most "
                f"are encoded one by one; turn it into numbers or fewer categories, or {_remedy(name)}"
            )
        return TextColumn(name=name, values=tuple(sorted(self._texts)))


def as_numbers(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    """Rows of a column that holds numbers, also where they were read as texts; NaN where one is missing."""
    if _is_numeric(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    codes, found = pd.factorize(column.astype(object))
    return _looked_up(np.array([float(clean(v) if isinstance(v, str) else v) for v in found]), codes)


def as_codes(column: pd.Series[Any], values: Mapping[str, int]) -> npt.NDArray[np.int64]:
    """The number of each row's text, -1 where it is missing.

    Args:
        column: Rows of a column that holds categories.
        values: The number of each text.
    """
    codes, found = pd.factorize(column.astype(object))
    numbers = [values[clean(v) if isinstance(v, str) else str(v)] for v in found]
    return np.array([*numbers, -1], dtype=np.int64)[codes]


def _is_numeric(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column))


def _number_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _looked_up(values: npt.NDArray[np.float64], codes: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The value of each code; NaN for -1."""
    return np.append(values, np.nan)[codes]


def _check_size(name: str, values: npt.NDArray[np.float64], origin: Origin) -> None:
    with np.errstate(invalid="ignore"):
        beyond = np.flatnonzero(np.abs(values) > LARGEST)
    if len(beyond):
        raise is_beyond(name, origin.row(int(beyond[0])), float(values[beyond[0]]))


def is_beyond(name: str, row: str, value: float) -> DataError:
    """What is said of a number that is infinite, or larger than `LARGEST`."""
    if np.isinf(value):
        return DataError(f"{row}: column {name} is infinite; correct it, or leave it empty if unknown")
    return DataError(f"{row}: column {name} is {value:g}, which is too large to compute with; correct it, or scale it")


def _remedy(name: str) -> str:
    return f"add ignore: [{name}] to leave the column out"


def _holds_dates(name: str, origin: Origin) -> DataError:
    return DataError(
        f"{origin}: column {name} holds dates; set dates: expand for their year, month, weekday and days, set order: "
        f"{name} to split by time, or {_remedy(name)}"
    )


def group_codes(column: pd.Series[Any], origin: Origin) -> npt.NDArray[np.int64]:
    """An integer for each example's group, that depends on the group's name alone.

    Raises:
        DataError: an example has no group.
    """
    codes, found = pd.factorize(column.astype(object))
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise DataError(f"{origin.row(row)}: column {column.name} names no group; fill it, or drop the row")
    return hash_texts([str(value) for value in found]).view(np.int64)[codes]


class TimeSurvey:
    """Reads the column that orders the examples, as a whole or in parts that follow each other."""

    def __init__(self, name: object) -> None:
        self._name = name
        self._times: dict[str, list[npt.NDArray[np.float64]]] = {"numbers": [], "dates": []}
        self._may_be_dates = False
        self._unknown: dict[str, tuple[str, object]] = {}
        """Row and value of the first that is no number, and of the first that is no date."""

    def add(self, column: pd.Series[Any], origin: Origin) -> None:
        """Read further rows."""
        numbers = pd.to_numeric(column.astype(object), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        dates = np.full(len(column), np.nan)
        if not pd.api.types.is_numeric_dtype(column):
            self._may_be_dates = True
            found = pd.to_datetime(column.astype(str), format="ISO8601", utc=True, errors="coerce")
            nanoseconds = found.astype("datetime64[ns, UTC]").astype("int64").astype(np.float64)
            dates = np.where(found.isna(), np.nan, nanoseconds)
        for kind, values in (("numbers", numbers), ("dates", dates)):
            self._times[kind].append(values)
            unknown = np.flatnonzero(np.isnan(values))
            if len(unknown) and kind not in self._unknown:
                self._unknown[kind] = origin.row(int(unknown[0])), column.iloc[int(unknown[0])]

    def times(self) -> npt.NDArray[np.float64]:
        """A number for each row that ascends with time: the column's numbers, or nanoseconds of its dates.

        Raises:
            DataError: a value is missing, or neither a number nor an ISO 8601 date.
        """
        for kind, values in self._times.items():
            if kind not in self._unknown:
                return np.concatenate(values)
        row, value = self._unknown["dates" if self._may_be_dates else "numbers"]
        raise DataError(
            f"{row}: column {self._name} holds {quoted(value)}, which is no time; give a number or a date such as "
            "2024-12-31"
        )


def order_times(column: pd.Series[Any], origin: Origin) -> npt.NDArray[np.float64]:
    """The times of a whole column: see `TimeSurvey`."""
    survey = TimeSurvey(column.name)
    survey.add(column, origin)
    return survey.times()
