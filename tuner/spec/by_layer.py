"""Values by layer: a number for each layer, `[256, 64]`, or for each pattern of parameters' names, `{0.*: 0.1}`.

The value of a hyperparameter is a word or a number wherever it goes: in the study, among choices, in tables. So a list
or a mapping of a sweep file becomes its own text as it is read, which reads back as the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping

from tuner.records import Json, ParamValue
from tuner.spec.known.hyperparameters import HYPERPARAMETERS


def as_text(value: Json) -> Json:
    """The text of a list of numbers, or of a mapping of patterns to numbers; anything else as it is."""
    parts = list(value.values()) if isinstance(value, dict) else value
    if not isinstance(parts, list) or not parts or not all(_is_number(part) for part in parts):
        return value
    return json.dumps({str(name): part for name, part in value.items()} if isinstance(value, dict) else value)


def by_layer(value: ParamValue | None) -> tuple[float, ...]:
    """The numbers of a value that is a list, from the input on; none of any other."""
    read = _read(value)
    return tuple(read) if isinstance(read, list) else ()


def by_name(value: ParamValue | None) -> dict[str, float]:
    """The numbers of a value that is a mapping, by pattern; none of any other."""
    read = _read(value)
    return read if isinstance(read, dict) else {}


def numbers_in(value: ParamValue | None) -> tuple[float, ...]:
    """All numbers of a value by layer or by name; none of any other."""
    return by_layer(value) or tuple(by_name(value).values())


def hidden_widths(values: Mapping[str, ParamValue]) -> tuple[int, ...]:
    """The units of each hidden dense layer of an mlp, from its values."""
    listed = by_layer(values.get("hidden_units"))
    return tuple(map(int, listed)) or (int(values.get("hidden_units", 64)),) * int(values.get("hidden_layers", 2))


def with_texts(sweep: dict[str, Json]) -> dict[str, Json]:
    """A sweep file's values, with texts for lists where a hyperparameter that may be one is fixed or searched."""
    found = dict(sweep)
    if isinstance(model := found.get("model"), dict):
        found["model"] = _texts(model) | (
            {"settings": _texts(model["settings"])} if isinstance(model.get("settings"), dict) else {}
        )
    if isinstance(space := found.get("space"), dict):
        found["space"] = {name: _of_dimension(name, part) for name, part in space.items()}
    search = found.get("search")
    if isinstance(search, dict) and isinstance(search.get("start"), list):
        starts = [_texts(start) if isinstance(start, dict) else start for start in search["start"]]
        found["search"] = search | {"start": starts}
    return found


def _of_dimension(name: str, part: Json) -> Json:
    if not isinstance(part, dict):
        return part
    found = dict(part)
    if _may_be_listed(name):
        if isinstance(part.get("choices"), list):
            found["choices"] = [as_text(choice) for choice in part["choices"]]
        if "default" in part:
            found["default"] = as_text(part["default"])
    if isinstance(when := part.get("when"), dict):
        found["when"] = {
            other: [as_text(w) for w in wanted] if _may_be_listed(other) and isinstance(wanted, list) else wanted
            for other, wanted in when.items()
        }
    return found


def _texts(values: dict[str, Json]) -> dict[str, Json]:
    return {name: as_text(value) if _may_be_listed(name) else value for name, value in values.items()}


def _may_be_listed(name: str) -> bool:
    known = HYPERPARAMETERS.get(name)
    return known is not None and known.by_layer is not None


def _is_number(part: Json) -> bool:
    return isinstance(part, int | float) and not isinstance(part, bool) and math.isfinite(part)


def _read(value: ParamValue | None) -> Json:
    if not isinstance(value, str) or value[:1] not in ("[", "{"):
        return None
    try:
        read = json.loads(value)
    except ValueError:
        return None
    return read if as_text(read) != read else None
