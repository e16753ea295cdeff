"""From raw examples to what a network takes, by what was measured on its training part. Part of exported folders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Row: TypeAlias = Mapping[str, str]
Known: TypeAlias = Mapping[str, Any]
"""As preparation.json has it."""

_MISSING = {
    "", "?", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
}  # fmt: skip
"""As the training file was read."""
_TRUTHS = {"true": "1", "false": "0"}
_LARGEST = 1e150


class InputError(ValueError):
    """What is given cannot be predicted."""


def prepared(inputs: Array | Sequence[Row], known: Known, *, first: int = 1) -> Array:
    """What the network takes of raw examples; the number of the first row is for messages.

    Raises:
        InputError: they are not as those that the network was trained with.
    """
    return _from_array(inputs, known) if isinstance(inputs, np.ndarray) else _from_rows(inputs, known, first)


def wanted_columns(known: Known) -> list[str]:
    """The columns that inputs are made of."""
    dates = known["dates"]
    numbers = [name for name in known["names"] if name.rpartition(".")[0] not in dates]
    return [*numbers, *(text["name"] for text in known["texts"]), *dates]


def some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _normalised(values: Array, known: Known) -> Array:
    mean, std, constant = (np.array(known[name]) for name in ("mean", "std", "constant"))
    if known["curves"]:
        columns = zip(values.T, known["curves"], strict=True)
        values = np.stack([np.interp(column, at, become) for column, (at, become) in columns], axis=1)
    if not known["normalise"]:
        return np.where(np.isnan(values), mean, values)
    centred = (values - mean) / std
    return np.where(constant, 0.0, np.where(np.isnan(centred), 0.0, centred))


def _from_array(inputs: Array, known: Known) -> Array:
    if known["texts"]:
        raise InputError("some inputs are texts: give them as a CSV file")
    values = _shaped(inputs, tuple(known["shape"])).astype(np.float64)
    if known["bytes"]:
        values /= 255.0
    marks = np.isnan(values[:, known["marked"]]) if values.ndim == 2 else None
    numbers = _normalised(values, known)
    return (numbers if marks is None else np.concatenate([numbers, marks], axis=1)).astype(np.float32)


def _shaped(inputs: Array, shape: tuple[int, ...]) -> Array:
    """The inputs as training had them: with the channels of images first, and with one of grey images."""
    own = inputs.shape[1:]
    if inputs.dtype.kind not in "biuf" or not inputs.ndim:
        raise InputError(f"inputs of type {inputs.dtype} and shape {inputs.shape} are no examples; give numbers")
    if own == shape:
        return inputs
    if (1, *own) == shape or (own, shape) == ((), (1,)):
        return inputs.reshape(len(inputs), *shape)
    if len(shape) == 3 and own == (*shape[1:], shape[0]):
        return np.moveaxis(inputs, 3, 1)
    raise InputError(f"each example has the shape {own}, and those that the network was trained with {shape}")


def _from_rows(rows: Sequence[Row], known: Known, first: int) -> Array:
    rows = [_with_date_parts(row, known["dates"], number) for number, row in enumerate(rows, start=first)]
    if missing := [name for name in wanted_columns(known) if rows and name not in rows[0]]:
        raise InputError(f"there is no column {some(missing)}, which the network was trained with")
    numbers = np.array(
        [[_number(row[name], name, i) for name in known["names"]] for i, row in enumerate(rows, start=first)],
        dtype=np.float64,
    ).reshape(len(rows), len(known["names"]))
    texts = [[_text(row[text["name"]], text) for row in rows] for text in known["texts"]]
    columns = [
        _normalised(numbers, known),
        *(
            np.array([[value == text for text in column["values"]] for value in values]).reshape(len(rows), -1)
            for column, values in zip(known["texts"], texts, strict=True)
        ),
        np.isnan(numbers[:, known["marked"]]),
        *(
            np.array([[value is None] for value in values]).reshape(len(rows), 1)
            for column, values in zip(known["texts"], texts, strict=True)
            if column["marked"]
        ),
    ]
    return np.concatenate(columns, axis=1).astype(np.float32)


def note_unseen(rows: Sequence[Row], known: Known, unseen: dict[str, set[str]]) -> None:
    for column in known["texts"]:
        found = {_text(row[column["name"]], column) for row in rows} - {None, *column["values"]}
        if found:
            unseen.setdefault(column["name"], set()).update(text for text in found if text is not None)


def _text(text: str, column: Mapping[str, Any]) -> str | None:
    """The category; None where the value is missing."""
    if text.strip() in _MISSING:
        return None
    return _category(text) if column["whole"] else " ".join(text.split())


def _number(text: str, column: str, row: int) -> float:
    text = text.strip()
    if text in _MISSING or text.lower() in ("na", "none", "null"):
        return math.nan
    try:
        value = float(_TRUTHS.get(text.lower(), text))
    except ValueError:
        raise InputError(f'row {row}: column {column} holds "{text[:60]}", which is no number') from None
    if abs(value) > _LARGEST:
        raise InputError(f"row {row}: column {column} holds {text[:60]}, which is too large to compute with")
    return value


def _with_date_parts(row: Row, dates: Sequence[str], number: int) -> dict[str, str]:
    """The row with the year, month, weekday and days since 1970 of each date, in UTC."""
    found = dict(row)
    for name in dates:
        text = row.get(name, "").strip()
        if name not in row:
            continue
        parts: list[object] = [""] * 4
        if text not in _MISSING:
            try:
                when = datetime.fromisoformat(text)
            except ValueError:
                raise InputError(f'row {number}: column {name} holds "{text[:60]}", no date as 2024-12-31') from None
            when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
            days = (when - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() / 86400
            parts = [when.year, when.month, when.weekday(), days]
        names = [f"{name}.{part}" for part in ("year", "month", "weekday", "days")]
        found |= dict(zip(names, map(str, parts), strict=True))
    return found


def _category(text: str) -> str:
    """The name of a category that was said to be one: 1, 1.0 and 01 are the same."""
    text = " ".join(text.split())
    try:
        number = float(text)
    except ValueError:
        return text
    if text.lstrip("+-").isdigit():
        return str(int(text))
    return str(int(number)) if number == number // 1 else repr(number)
