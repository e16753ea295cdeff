"""A search space as JSON values that a study can keep, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import get_args

from tuner.records import Json
from tuner.spec.space import Dimension, Kind, Scale, Space

_FIELDS = frozenset(field.name for field in fields(Dimension))


def space_to_json(space: Space) -> Json:
    """The dimensions as values that a study can keep."""
    return [
        asdict(d) | {"choices": list(d.choices), "when": {name: list(values) for name, values in d.when.items()}}
        for d in space
    ]


def space_from_json(values: Json) -> Space:
    """The inverse of `space_to_json`.

    Raises:
        ValueError: the values are none of its results.
    """
    if not isinstance(values, list) or not all(isinstance(v, dict) for v in values):
        raise ValueError("it must be a list of dimensions")
    dimensions = tuple(map(_dimension, values))
    if len({d.name for d in dimensions}) < len(dimensions):
        raise ValueError("two dimensions have the same name")
    return Space(dimensions)


def _dimension(values: dict[str, Json]) -> Dimension:
    if values.keys() != _FIELDS:
        odd = min(values.keys() ^ _FIELDS)
        raise ValueError(f'a dimension {"lacks" if odd in _FIELDS else "has an unknown"} key "{odd[:60]}"')
    for key, fits in _RULES.items():
        if not fits(values[key]):
            raise ValueError(f"{key} of a dimension cannot be {ascii(values[key])[:60]}")
    found = Dimension(
        **values
        | {
            "choices": tuple(values["choices"]),
            "when": {name: tuple(allowed) for name, allowed in values["when"].items()},
        }
    )
    if not _is_sound(found):
        raise ValueError(f"dimension {ascii(found.name)[:60]}: its range, choices and default do not fit together")
    return found


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(float(value))


def _is_scalar(value: Json) -> bool:
    return isinstance(value, str | bool) or _is_number(value)


def _are_scalars(value: Json) -> bool:
    return isinstance(value, list) and all(map(_is_scalar, value))


_RULES: dict[str, Callable[[Json], bool]] = {
    "name": lambda v: isinstance(v, str),
    "kind": lambda v: isinstance(v, str) and v in get_args(Kind),
    "tier": lambda v: isinstance(v, int) and not isinstance(v, bool) and abs(v) < 1000,
    "default": _is_scalar,
    "low": _is_number,
    "high": _is_number,
    "choices": _are_scalars,
    "scale": lambda v: isinstance(v, str) and v in get_args(Scale),
    "step": lambda v: v is None or (_is_number(v) and v > 0),
    "when": lambda v: isinstance(v, dict) and all(map(_are_scalars, v.values())),
}


def _is_sound(d: Dimension) -> bool:
    if d.kind == "categorical":
        return d.default in d.choices
    if not _is_number(d.default) or d.low > d.high or not math.isfinite(d.high - d.low):
        return False
    if d.kind == "int" and not (float(d.low).is_integer() and float(d.high).is_integer()):
        return False
    return (d.scale != "log" or d.low > 0) and (d.scale != "log1m" or d.high < 1)
