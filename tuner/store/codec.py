"""How a trial record lies in an Optuna trial: which part is a user attribute, and as what JSON.

The attributes are readable in any Optuna tool: `tier`, `seed`, `best`, `last`, `reason`, `facts`. What Optuna has
no word for (a paused trial, the epoch it was sent to) is in the attribute `tuner`, which also marks a trial as ours.
Rungs are Optuna's intermediate values, the best dev metric is its value.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from tuner.records import EpochResult, Json, TrialRecord, TrialState

STATE_ATTRIBUTE = "tuner"
STUDY_ATTRIBUTE = "tuner"
"""Study attribute with the format's version, the metric's name and the study's identity: see `study_mark`."""
LEASE_ATTRIBUTE = "tuner:lease"
"""Study system attribute that names the process which runs the study."""
METRIC_NAMES_ATTRIBUTE = "study:metric_names"
"""Optuna's own system attribute for the names of the objectives; dashboards label their axes with it."""
FORMAT = 1

MAX_ATTRIBUTE_BYTES = 60_000
"""Longest JSON text of one attribute: MySQL's TEXT holds 65,535 bytes."""

_NOT_A_JSON_NUMBER = "$float"
_EPOCH_FIELDS = tuple(field.name for field in fields(EpochResult))


def study_mark(metric: str) -> dict[str, Json]:
    """What marks a study as ours, and tells it from others that bear its name before or after it."""
    return {"format": FORMAT, "metric": metric, "identity": secrets.token_hex(8)}


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


def decode(text: str) -> Json:
    """The value of a text of `encode`, or of any other JSON text."""
    if _NOT_A_JSON_NUMBER in text:
        return json.loads(text, object_hook=_special_float)
    return json.loads(text)


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
    return float(found[_NOT_A_JSON_NUMBER]) if found.keys() == {_NOT_A_JSON_NUMBER} else found


def attributes(record: TrialRecord) -> dict[str, str]:
    """The user attributes of a record, as JSON texts by key; empty parts are left out."""
    parts = {
        "tier": encode(record.tier),
        "seed": encode(record.seed),
        STATE_ATTRIBUTE: encode(
            {
                "format": FORMAT,
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
    """The record whose `attributes` these are."""
    state = decode(texts[STATE_ATTRIBUTE])
    return TrialRecord(
        number=number,
        params=params,
        seed=decode(texts["seed"]),
        state=TrialState(state["state"]),
        tier=decode(texts["tier"]),
        reason=decode(texts["reason"]) if "reason" in texts else "",
        to_epoch=state["to_epoch"],
        rungs=rungs,
        best=_decode_epoch(texts.get("best")),
        last=_decode_epoch(texts.get("last")),
        num_parameters=state["num_parameters"],
        attempts=state["attempts"],
        started=state["started"],
        ended=state["ended"],
        facts=decode(texts["facts"]) if "facts" in texts else {},
    )


def _encode_epoch(result: EpochResult) -> str:
    return encode({name: getattr(result, name) for name in _EPOCH_FIELDS})


def _decode_epoch(text: str | None) -> EpochResult | None:
    return EpochResult(**decode(text)) if text is not None else None


def record_to_json(record: TrialRecord) -> Json:
    """A record as one JSON value, for a file of pending changes."""
    return {
        "number": record.number,
        "params": dict(record.params),
        "rungs": [list(rung) for rung in record.rungs],
        "attributes": attributes(record),
    }


def record_from_json(value: Json) -> TrialRecord:
    """The inverse of `record_to_json`."""
    rungs = tuple((int(epoch), float(best)) for epoch, best in value["rungs"])
    return record_from_attributes(value["number"], value["params"], value["attributes"], rungs)
