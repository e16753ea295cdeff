"""What one column of a table holds: numbers, categories, groups or times; anything else is refused with a remedy."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tuner.data.examples import Origin, TextColumn
from tuner.data.fingerprint import hash_texts
from tuner.data.text import DATE, clean, quoted
from tuner.errors import DataError

MOST_MIXED_CATEGORIES = 20
"""A column of numbers and texts, such as 0, 1, 2, 3+, holds categories if it has at most so many distinct values."""


_AMOUNT = re.compile(r"[$€£¥]?\s*[-+]?\d+([.,]\d+)*\s*[%$€£¥]?")
"""A number as people write it: 1,5 or 1,234.50 or 12% or $3."""


@dataclass(frozen=True, slots=True)
class NumberColumn:
    """A column of numbers."""

    name: str
    values: npt.NDArray[np.float64]
    """Shape (examples,); NaN where one is missing."""


def typed_column(
    column: pd.Series[Any], *, in_source: npt.NDArray[np.bool_], origin: Origin
) -> NumberColumn | TextColumn:
    """A column of inputs as numbers or as categories.

    Args:
        column: All examples.
        in_source: Which of them are not given apart; where these are all numbers, the others must be too.
        origin: Of the rows, for messages.

    Raises:
        DataError: it holds dates, infinite numbers, lists, or numbers among which a text has strayed.
    """
    name = str(column.name)
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_numeric_dtype(column):
        return _numbers(name, column.to_numpy(dtype=np.float64, na_value=np.nan), origin)
    try:
        codes, found = pd.factorize(column.astype(object))
    except TypeError:
        raise DataError(f"{origin}: column {name} holds lists or other nested values; {_remedy(name)}") from None
    if any(isinstance(value, str) and "\0" in value for value in found):
        raise DataError(f"{origin}: column {name} holds NUL bytes; save the file as UTF-8 text")
    distinct = [clean(value) if isinstance(value, str) else value for value in found]
    if any(isinstance(v, datetime.date | datetime.time | pd.Timestamp | pd.Timedelta | pd.Period) for v in distinct):
        raise _holds_dates(name, origin)
    if all(isinstance(v, bool | int | float | Decimal) for v in distinct):
        return _numbers(name, _looked_up(np.array([float(v) for v in distinct]), codes), origin)
    texts = [str(v) for v in distinct]
    if all(DATE.fullmatch(text) for text in texts[:50]):
        raise _holds_dates(name, origin)
    _check_texts(name, texts, codes, origin)
    parsed = np.array([_number_or_nan(text) for text in texts])
    is_text = np.isnan(parsed)
    if not is_text.any():
        return _numbers(name, _looked_up(parsed, codes), origin)
    strays = (codes >= 0) & is_text[codes]
    mostly_numbers = len(texts) > MOST_MIXED_CATEGORIES and 2 * np.count_nonzero(strays) < len(codes)
    if mostly_numbers or not strays[in_source].any():
        row = int(np.flatnonzero(strays)[0])
        raise DataError(
            f"{origin.row(row)}: column {name} holds {quoted(texts[codes[row]])} among numbers; correct it, leave "
            f"it empty if the value is unknown, or {_remedy(name)}"
        )
    return _categories(name, texts, codes)


def _check_texts(name: str, texts: list[str], codes: npt.NDArray[np.intp], origin: Origin) -> None:
    """Refuse numbers that are written for people: as categories they would lose their order."""
    if not all(_AMOUNT.fullmatch(text) for text in texts):
        return
    odd = next((i for i, text in enumerate(texts) if np.isnan(_number_or_nan(text)) and text.count(".") < 2), None)
    if odd is not None:
        row = int(np.flatnonzero(codes == odd)[0])
        raise DataError(
            f"{origin.row(row)}: column {name} holds {quoted(texts[odd])}, a number that is not written as one; write "
            f"1234.5, without signs of currency, percent or thousands and with a decimal point, or {_remedy(name)}"
        )


def _number_or_nan(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _looked_up(values: npt.NDArray[np.float64], codes: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The value of each code; NaN for -1."""
    return np.append(values, np.nan)[codes]


def _numbers(name: str, values: npt.NDArray[np.float64], origin: Origin) -> NumberColumn:
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise DataError(
            f"{origin.row(int(infinite[0]))}: column {name} is infinite; correct it, or leave it empty if unknown"
        )
    return NumberColumn(name, values)


def _categories(name: str, texts: list[str], codes: npt.NDArray[np.intp]) -> TextColumn:
    values, position = np.unique(texts, return_inverse=True)
    return TextColumn(
        name=name, values=tuple(str(v) for v in values), codes=np.append(position, -1)[codes].astype(np.int64)
    )


def _remedy(name: str) -> str:
    return f"add ignore: [{name}] to leave the column out"


def _holds_dates(name: str, origin: Origin) -> DataError:
    return DataError(
        f"{origin}: column {name} holds dates; turn them into numbers (a year, a weekday, days since a start), set "
        f"order: {name} to split by time, or {_remedy(name)}"
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


def order_times(column: pd.Series[Any], origin: Origin) -> npt.NDArray[np.float64]:
    """A number for each example that ascends with time: the column's numbers, or nanoseconds of its dates.

    Raises:
        DataError: a value is missing, or neither a number nor an ISO 8601 date.
    """
    times = pd.to_numeric(column.astype(object), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isnan(times).any():
        dates = pd.to_datetime(column.astype(str), format="ISO8601", utc=True, errors="coerce")
        times = np.where(dates.isna(), np.nan, dates.astype("datetime64[ns, UTC]").astype("int64").astype(np.float64))
    unknown = np.flatnonzero(np.isnan(times))
    if len(unknown):
        row = int(unknown[0])
        raise DataError(
            f"{origin.row(row)}: column {column.name} holds {quoted(column.iloc[row])}, which is no time; "
            "give a number or a date such as 2024-12-31"
        )
    return times
