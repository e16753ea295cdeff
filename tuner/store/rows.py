"""From the rows of Optuna's tables to trial records; the tables of plain Optuna studies too."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeAlias

from tuner.errors import StorageError
from tuner.records import Direction, EpochResult, FailureReason, ParamValue, TrialRecord, TrialState
from tuner.store.codec import STATE_ATTRIBUTE, record_from_attributes

Timestamp: TypeAlias = str | datetime | None

_OPTUNA_STATES = {
    "RUNNING": TrialState.RUNNING,
    "WAITING": TrialState.PAUSED,
    "COMPLETE": TrialState.COMPLETE,
    "PRUNED": TrialState.PRUNED,
    "FAIL": TrialState.FAILED,
}
OPTUNA_STATE = {
    TrialState.RUNNING: "RUNNING",
    TrialState.PAUSED: "RUNNING",
    TrialState.COMPLETE: "COMPLETE",
    TrialState.PRUNED: "PRUNED",
    TrialState.FAILED: "FAIL",
}
"""Optuna's name for each state: a paused trial is RUNNING there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRows:
    """The rows of one study. Values and intermediate values come with their type: FINITE, INF_POS, INF_NEG or NAN."""

    trials: Iterable[tuple[int, int, str, Timestamp, Timestamp]]
    """(trial id, number, state, start, end), by number."""
    params: Iterable[tuple[int, str, float, str]]
    """(trial id, name, internal value, distribution as JSON), in the order in which they were written."""
    attributes: Iterable[tuple[int, str, str]]
    """(trial id, key, JSON)."""
    intermediate_values: Iterable[tuple[int, int, float | None, str]]
    """(trial id, step, value, type), by step."""
    values: Iterable[tuple[int, float | None, str]]
    """(trial id, value, type) of the first objective."""


def records_from_rows(rows: TrialRows, *, direction: Direction) -> list[TrialRecord]:
    """All trials of a study, by number."""
    params: dict[int, dict[str, ParamValue]] = defaultdict(dict)
    for trial_id, name, value, distribution in rows.params:
        params[trial_id][name] = _reader_of(distribution)(value)
    attributes: dict[int, dict[str, str]] = defaultdict(dict)
    for trial_id, key, text in rows.attributes:
        attributes[trial_id][key] = text
    rungs: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for trial_id, step, number, kind in rows.intermediate_values:
        rungs[trial_id].append((step, number if kind == "FINITE" and number is not None else _SPECIAL[kind]))
    values = {
        trial_id: number if kind == "FINITE" and number is not None else _SPECIAL[kind]
        for trial_id, number, kind in rows.values
    }
    records = []
    for trial_id, number, state, started, ended in rows.trials:
        texts = attributes.get(trial_id, {})
        points = tuple(rungs.get(trial_id, ()))
        if STATE_ATTRIBUTE in texts:
            records.append(_our_record(number, params.get(trial_id, {}), texts, points))
        else:
            plain = PlainTrial(number, state, params.get(trial_id, {}), points, values.get(trial_id), started, ended)
            records.append(plain.record(direction))
    return records


def _our_record(
    number: int, params: Mapping[str, ParamValue], texts: Mapping[str, str], rungs: tuple[tuple[int, float], ...]
) -> TrialRecord:
    try:
        return record_from_attributes(number, params, texts, rungs)
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"trial {number} has attributes that tuner did not write ({error!r})") from error


_SPECIAL = {"FINITE": math.nan, "INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}


@cache
def _reader_of(distribution: str) -> Callable[[float], ParamValue]:
    """How a parameter under a distribution (JSON) is read from the number that Optuna stores."""
    parsed = json.loads(distribution)
    name = parsed["name"]
    if name == "CategoricalDistribution":
        choices = [c if isinstance(c, bool | int | float | str) else str(c) for c in parsed["attributes"]["choices"]]
        return lambda index: choices[int(index)]
    return int if name.startswith("Int") else float


@dataclass(frozen=True, slots=True)
class PlainTrial:
    """A trial of a study that tuner did not make: Optuna's facts, and nothing about epochs."""

    number: int
    state: str
    params: Mapping[str, ParamValue]
    steps: tuple[tuple[int, float], ...]
    """(step, reported value)."""
    value: float | None
    started: Timestamp
    ended: Timestamp

    def record(self, direction: Direction) -> TrialRecord:
        """The record that comes closest: each report counts as a rung, measurements that there are not are NaN."""
        state = _OPTUNA_STATES[self.state]
        points = [(step, value) for step, value in self.steps if math.isfinite(value)]
        if self.value is not None and math.isfinite(self.value) and state is TrialState.COMPLETE:
            points.append((max((step for step, _ in self.steps), default=0) + (not self.steps), self.value))
        rungs: list[tuple[int, float]] = []
        best: tuple[int, float] | None = None
        for step, value in points:
            if best is None or direction.better(value, best[1]):
                best = (step, value)
            if rungs and rungs[-1][0] == step:
                rungs.pop()
            rungs.append((step, best[1]))
        seconds = self._seconds()
        return TrialRecord(
            number=self.number,
            params=self.params,
            seed=None,
            state=state,
            reason=FailureReason.ERROR.value if state is TrialState.FAILED else "",
            rungs=tuple(rungs),
            best=_unmeasured(best, seconds) if best else None,
            last=_unmeasured(points[-1], seconds) if points else None,
            started=_iso(self.started),
            ended=_iso(self.ended),
        )

    def _seconds(self) -> float:
        started, ended = _iso(self.started), _iso(self.ended)
        if not started or not ended:
            return 0.0
        return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()


def _unmeasured(point: tuple[int, float], seconds: float) -> EpochResult:
    epoch, value = point
    return EpochResult(
        epoch=epoch,
        train_loss=math.nan,
        dev_loss=math.nan,
        train_metric=math.nan,
        dev_metric=value,
        learning_rate=math.nan,
        seconds=seconds,
    )


def _iso(stamp: Any) -> str:
    """UTC, ISO 8601, of what Optuna stores as naive UTC."""
    if stamp is None or stamp == "":
        return ""
    moment = stamp if isinstance(stamp, datetime) else datetime.fromisoformat(stamp)
    return moment.replace(tzinfo=UTC).isoformat(timespec="microseconds")
