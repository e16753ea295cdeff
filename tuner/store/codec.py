"""How a trial record lies in an Optuna trial: which part is a user attribute, and as what JSON.

The attributes are readable in any Optuna tool: `tier`, `seed`, `best`, `last`, `reason`, `facts`. What Optuna has
no word for (a paused trial, the epoch it was sent to) is in the attribute `tuner`, which also marks a trial as ours.
Rungs are Optuna's intermediate values, the best dev metric is its value.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tuner.records import EpochResult, Json, TrialRecord, TrialState
from tuner.store.shapes import (
    Shape,
    StoredValueError,
    count,
    either,
    finite,
    list_of,
    mapping_of,
    moment,
    number,
    one_of,
    parts,
    positive,
    scalar,
    seed,
    shown,
    text,
    whole,
)

STATE_ATTRIBUTE = "tuner"
STUDY_ATTRIBUTE = "tuner"
"""Study attribute with the format's version, the metric's name and the study's identity: see `study_mark`."""
LEASE_ATTRIBUTE = "tuner:lease"
"""Study system attribute that names the process which runs the study."""
METRIC_NAMES_ATTRIBUTE = "study:metric_names"
"""Optuna's own system attribute for the names of the objectives; dashboards label their axes with it."""
_FORMAT = 1

MAX_ATTRIBUTE_BYTES = 60_000
"""Longest JSON text of one attribute: MySQL's TEXT holds 65,535 bytes."""

MAX_DEPTH = 100
"""No value of ours is nested nearly so deeply, and many a program is lost at some ten times that."""

_NOT_A_JSON_NUMBER = "$float"
_DECODER = json.JSONDecoder()
_ENDLESS = 10**300
_MANY_DIGITS = re.compile(r"\d{300}")
_EPOCH_FIELDS = tuple(field.name for field in fields(EpochResult))
_EPOCH = whole(**dict.fromkeys(_EPOCH_FIELDS, number) | {"epoch": positive, "seconds": finite}, exact=True)
_STATE = whole(
    state=one_of(tuple(state.value for state in TrialState)),
    to_epoch=count,
    num_parameters=count,
    attempts=count,
    started=moment,
    ended=moment,
)
_BY_LAYER = either(number, mapping_of(number))
_PHASES = list_of(whole(from_epoch=count, trial=count, values=mapping_of(scalar), exact=True))
_TRIAL_FACTS = parts(
    phases=_PHASES,
    objectives=mapping_of(number),
    violation=number,
    cohort_width=count,
    worker=text,
    device=text,
    path=text,
    repeat_of=count,
    train_share=finite,
    part_metric=number,
    code=list_of(text),
    fold_scores=list_of(number),
    dead_units=_BY_LAYER,
    gradient_norms=_BY_LAYER,
)
"""The facts of a trial that are read; the others are shown, whatever they are."""
_PENDING = whole(
    number=count, params=mapping_of(scalar), rungs=list_of(list_of(number, length=2)), attributes=mapping_of(text)
)


def study_mark(metric: str) -> dict[str, Json]:
    """What marks a study as ours, and tells it from others that bear its name before or after it."""
    return {"format": _FORMAT, "metric": metric, "identity": os.urandom(8).hex()}


def identity_of(mark: Json) -> str:
    """A study's identity by its mark; empty for a study of plain Optuna's, or of an earlier version of tuner."""
    identity = mark.get("identity") if isinstance(mark, Mapping) else None
    return identity if isinstance(identity, str) else ""


def encode(value: Json) -> str:
    """JSON text (ASCII, strict: NaN and infinities become `{"$float": "nan"}`) that `decode` reads back equal.

    Tuples become lists; numbers of other libraries (NumPy scalars) become Python's.
    """
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":"), default=_plain)
    except ValueError:
        return json.dumps(_strict(value), allow_nan=False, separators=(",", ":"), default=_plain)


def decode(stored: object) -> Json:
    """The value of a text of `encode`, or of any other JSON text.

    Raises:
        StoredValueError: it is no JSON, or none of ours: nested deeply, with numbers of hundreds of digits.
    """
    if not isinstance(stored, str):
        raise StoredValueError(f"it must be JSON text, got {shown(stored)}")
    try:
        value = json.loads(stored, object_hook=_special_float) if _NOT_A_JSON_NUMBER in stored else _plain_json(stored)
    except RecursionError:
        raise StoredValueError("it is nested too deeply") from None
    except ValueError as error:
        raise StoredValueError(f"it is not JSON ({str(error)[:100]}): {shown(stored)}") from None
    is_long = len(stored) > 2 * MAX_DEPTH  # nearly all are too short to be too deep, or to hold so many digits
    if is_long and (stored.count("[") + stored.count("{") > MAX_DEPTH or _MANY_DIGITS.search(stored)):
        _check_extent(value)
    return value


def _plain_json(stored: str) -> Json:
    """`json.loads`, which takes longer to look for white space than to read a short text."""
    try:
        value, end = _DECODER.raw_decode(stored)
    except ValueError:
        return json.loads(stored)
    return value if end == len(stored) else json.loads(stored)


def _check_extent(value: Json) -> None:
    """Make sure that a value is not nested too deeply, and that a float can hold each of its whole numbers."""
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise StoredValueError("it is nested too deeply")
        if any(type(part) is int and abs(part) >= _ENDLESS for part in level):
            raise StoredValueError("it holds a number of too many digits")
        inner = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list)]
        level = [part for parts in inner for part in parts]


def _plain(value: Any) -> Json:
    if hasattr(value, "item"):
        return _strict(value.item())
    if isinstance(value, Mapping):
        return {str(name): part for name, part in value.items()}
    raise TypeError(f"a fact must be JSON, got {type(value).__name__}: {value!r}")


def _strict(value: Json) -> Json:
    match value:
        case float() if not math.isfinite(value):
            return {_NOT_A_JSON_NUMBER: str(value)}
        case Mapping():
            return {str(name): _strict(part) for name, part in value.items()}
        case list() | tuple():
            return [_strict(part) for part in value]
        case _:
            return value


def _special_float(found: dict[str, Json]) -> Json:
    if found.keys() != {_NOT_A_JSON_NUMBER}:
        return found
    name = found[_NOT_A_JSON_NUMBER]
    if name not in ("nan", "inf", "-inf"):
        raise ValueError("$float must be nan, inf or -inf")
    return float(name)


def attributes(record: TrialRecord) -> dict[str, str]:
    """The user attributes of a record, as JSON texts by key; empty parts are left out."""
    parts = {
        "tier": encode(record.tier),
        "seed": encode(record.seed),
        STATE_ATTRIBUTE: encode(
            {
                "format": _FORMAT,
                "state": record.state.value,
                "to_epoch": record.to_epoch,
                "num_parameters": record.num_parameters,
                "attempts": record.attempts,
                "started": record.started,
                "ended": record.ended,
            }
        ),
    }
    if record.best is not None:
        parts["best"] = _encode_epoch(record.best)
    if record.last is not None:
        parts["last"] = _encode_epoch(record.last)
    if record.reason:
        parts["reason"] = encode(record.reason)
    if record.facts:
        parts["facts"] = encode(record.facts)
    return parts


def record_from_attributes(
    number: int, params: Mapping[str, Any], texts: Mapping[str, str], rungs: tuple[tuple[int, float], ...]
) -> TrialRecord:
    """The record whose `attributes` these are.

    Raises:
        StoredValueError: they are no record's.
    """
    state = _attribute(texts, STATE_ATTRIBUTE, _STATE)
    best, last = (
        EpochResult(**found) if (found := _attribute(texts, key, _EPOCH, default=None)) is not None else None
        for key in ("best", "last")
    )
    record = TrialRecord(
        number=number,
        params=params,
        seed=_attribute(texts, "seed", seed),
        state=TrialState(state["state"]),
        tier=_attribute(texts, "tier", text),
        reason=_attribute(texts, "reason", text, default=""),
        to_epoch=state["to_epoch"],
        rungs=rungs,
        best=best,
        last=last,
        num_parameters=state["num_parameters"],
        attempts=state["attempts"],
        started=state["started"],
        ended=state["ended"],
        facts=_attribute(texts, "facts", _TRIAL_FACTS, default={}),
    )
    if (problem := _contradiction(record)) is not None:
        raise StoredValueError(problem)
    return record


def _contradiction(record: TrialRecord) -> str | None:
    """What in a record cannot be true together with the rest."""
    best, last = record.best, record.last
    if (best is None or not math.isfinite(best.dev_metric)) and (best or record.state is TrialState.COMPLETE):
        return "best: it must have a finite dev metric"
    if best is not None and (last is None or last.epoch < best.epoch):
        return "best: its epoch lies after the last one"
    epochs = [epoch for epoch, _ in record.rungs]
    if epochs != sorted(set(epochs)) or not all(math.isfinite(value) for _, value in record.rungs):
        return "its intermediate values must be finite, and one for each step"
    return None


_MISSING: Json = object()


def _attribute(texts: Mapping[str, str], key: str, shape: Shape, *, default: Json = _MISSING) -> Json:
    if key not in texts:
        if default is _MISSING:
            raise StoredValueError(f'it has no attribute "{key}"')
        return default
    try:
        value = decode(texts[key])
        shape(value, key)
    except StoredValueError as error:
        raise StoredValueError(f'attribute "{key}": {error}') from None
    return value


def _encode_epoch(result: EpochResult) -> str:
    return encode({name: getattr(result, name) for name in _EPOCH_FIELDS})


def record_to_json(record: TrialRecord) -> Json:
    """A record as one JSON value, for a file of pending changes."""
    return {
        "number": record.number,
        "params": dict(record.params),
        "rungs": [list(rung) for rung in record.rungs],
        "attributes": attributes(record),
    }


def record_from_json(value: Json) -> TrialRecord:
    """The inverse of `record_to_json`.

    Raises:
        StoredValueError: the value is none of its results.
    """
    _PENDING(value, "a pending record")
    rungs = tuple((int(epoch), float(best)) for epoch, best in value["rungs"])
    return record_from_attributes(value["number"], value["params"], value["attributes"], rungs)
