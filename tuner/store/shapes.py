"""What a stored value must be: checks of JSON values, put together from few parts.

Whatever is read from a database passes one of these before anything else sees it. They are not pydantic's, since
`tuner status` would need most of its time to load that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from tuner.records import Json

_MAX_COUNT = 2**53
"""Counts and numbers of epochs beyond it are no measurements; doubles are exact up to it."""
_SHOWN_CHARACTERS = 60
_NAME_CHARACTERS = 100


class StoredValueError(ValueError):
    """A stored value that is not what it should be; the message says which and why, not in which file."""

    def __init__(self, message: str, *, trial_id: int | None = None, fact: str | None = None) -> None:
        super().__init__(message)
        self.trial_id = trial_id
        """Row of the trial that it belongs to."""
        self.fact = fact
        """The fact of the study that it is."""


Shape: TypeAlias = Callable[[Json, str], None]
"""Raises `StoredValueError` for a value that does not fit; the text is the value's name, for the message."""


def shown(value: object) -> str:
    """A value in a message: its beginning, on one line."""
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**_SHOWN_CHARACTERS else "a huge number"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def shown_name(name: object) -> str:
    """A name in a message: as it is, unless it is none that a line can hold."""
    is_plain = isinstance(name, str) and len(name) <= _NAME_CHARACTERS and name.isprintable()
    return str(name) if is_plain else shown(name)


def refuse(name: str, wanted: str, value: object) -> StoredValueError:
    """The error for a value that is something else."""
    return StoredValueError(f"{name} must be {wanted}, got {shown(value)}")


def anything(value: Json, name: str) -> None:
    """Fits all values."""


def text(value: Json, name: str) -> None:
    if not isinstance(value, str):
        raise refuse(name, "text", value)


def name_text(value: Json, name: str) -> None:
    """A name that is shown everywhere; half of a pair of UTF-16 is no character of one."""
    text(value, name)
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise refuse(name, "a name", value)


def count(value: Json, name: str) -> None:
    if type(value) is not int or not 0 <= value <= _MAX_COUNT:
        raise refuse(name, "a whole number from 0", value)


def positive(value: Json, name: str) -> None:
    if type(value) is not int or not 1 <= value <= _MAX_COUNT:
        raise refuse(name, "a whole number from 1", value)


def seed(value: Json, name: str) -> None:
    if type(value) is not int or not 0 <= value < 2**64:
        raise refuse(name, "a whole number of 64 bits", value)


def number(value: Json, name: str) -> None:
    """A number that may be infinite or none (NaN)."""
    if type(value) is not float and type(value) is not int:
        raise refuse(name, "a number", value)


def finite(value: Json, name: str) -> None:
    if type(value) is not float:
        number(value, name)
    if not math.isfinite(value):
        raise refuse(name, "a finite number", value)


def moment(value: Json, name: str) -> None:
    """ISO 8601 with its offset from UTC, or nothing."""
    text(value, name)
    if value:
        try:
            aware = datetime.fromisoformat(value).tzinfo is not None
        except ValueError:
            aware = False
        if not aware:
            raise refuse(name, "a moment (ISO 8601, UTC)", value)


def scalar(value: Json, name: str) -> None:
    """A value that a hyperparameter can have."""
    if not isinstance(value, str | bool):
        finite(value, name)


def one_of(names: Sequence[str]) -> Shape:
    """One of some words."""

    def check(value: Json, name: str) -> None:
        if value not in names:
            raise refuse(name, f"one of {', '.join(names)}", value)

    return check


def mapping(value: Json, name: str) -> None:
    if not isinstance(value, dict):
        raise refuse(name, "a mapping", value)


def optional(shape: Shape) -> Shape:
    def check(value: Json, name: str) -> None:
        if value is not None:
            shape(value, name)

    return check


def either(first: Shape, second: Shape) -> Shape:
    def check(value: Json, name: str) -> None:
        try:
            first(value, name)
        except StoredValueError:
            second(value, name)

    return check


def list_of(shape: Shape, *, length: int | None = None) -> Shape:
    def check(value: Json, name: str) -> None:
        if not isinstance(value, list) or (length is not None and len(value) != length):
            raise refuse(name, "a list" if length is None else f"a list of {length}", value)
        for part in value:
            shape(part, name)

    return check


def mapping_of(shape: Shape) -> Shape:
    def check(value: Json, name: str) -> None:
        mapping(value, name)
        for key, part in value.items():
            shape(part, f"{name}.{key}"[:_SHOWN_CHARACTERS])

    return check


def parts(**shapes: Shape) -> Shape:
    """A mapping whose known parts, as far as they are there, have these shapes."""

    def check(value: Json, name: str) -> None:
        mapping(value, name)
        try:
            for key, shape in shapes.items():
                if key in value:
                    shape(value[key], "")
        except StoredValueError:  # again, with the name that the message needs
            shape(value[key], f"{name}.{key}")

    return check


def whole(*, exact: bool = False, **shapes: Shape) -> Shape:
    """A mapping that has all of these parts; where it is exact, no others."""
    known = parts(**shapes)

    def check(value: Json, name: str) -> None:
        known(value, name)
        if not shapes.keys() <= value.keys():
            raise StoredValueError(f"{name} has no {min(shapes.keys() - value.keys())}")
        if exact and len(value) > len(shapes):
            raise StoredValueError(f"{name} has an unknown part {shown(min(value.keys() - shapes.keys()))}")

    return check
