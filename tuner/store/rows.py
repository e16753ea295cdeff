"""From the rows of Optuna's tables to trial records; the tables of plain Optuna studies too."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from typing import Any, NamedTuple, Self, TypeAlias

from tuner.records import Direction, EpochResult, FailureReason, ParamValue, TrialRecord, TrialState
from tuner.store.codec import STATE_ATTRIBUTE, decode, record_from_attributes
from tuner.store.shapes import StoredValueError, count, finite, refuse, shown, text

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


_SPECIAL = {"FINITE": math.nan, "INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What reading a row may raise where another program, or a fault, has written it."""


def records_from_rows(rows: TrialRows, *, direction: Direction, noun: str = "trial") -> list[TrialRecord]:
    """All trials of a study, by number; the noun names one in an error.

    Raises:
        StoredValueError: a row holds something else than it should.
    """
    trials = [_Trial(*row) for row in rows.trials]
    names = {trial.trial_id: f"{noun} {shown(trial.number)}" for trial in trials}
    _check_numbers(trials)
    params: dict[int, dict[str, ParamValue]] = defaultdict(dict)
    with _Reading(names) as at:
        for at.trial_id, name, value, distribution in rows.params:
            at.param = name
            text(name, "its name")
            params[at.trial_id][name] = _reader_of(distribution)(value)
    attributes: dict[int, dict[str, str]] = defaultdict(dict)
    for trial_id, key, stored in rows.attributes:
        attributes[trial_id][key] = stored
    rungs: dict[int, list[tuple[int, float]]] = defaultdict(list)
    with _Reading(names, "an intermediate value") as at:
        for at.trial_id, step, number, kind in rows.intermediate_values:
            count(step, "its step")
            rungs[at.trial_id].append((step, _measured(number, kind)))
    values: dict[int, float] = {}
    with _Reading(names, "its value") as at:
        for at.trial_id, number, kind in rows.values:
            values[at.trial_id] = _measured(number, kind)
    records = []
    with _Reading(names) as at:
        for trial in trials:
            at.trial_id = trial.trial_id
            texts, mine = attributes.get(trial.trial_id, {}), params.get(trial.trial_id, {})
            points = tuple(rungs.get(trial.trial_id, ()))
            records.append(
                record_from_attributes(trial.number, mine, texts, points)
                if STATE_ATTRIBUTE in texts
                else PlainTrial(trial, mine, points, values.get(trial.trial_id)).record(direction)
            )
    return records


def direction_of(stored: object) -> Direction:
    """The direction that Optuna names: `MAXIMIZE` or `MINIMIZE`.

    Raises:
        StoredValueError: it is neither.
    """
    for direction in Direction:
        if stored == direction.name:
            return direction
    raise refuse("the direction of the study", "MAXIMIZE or MINIMIZE", stored)


class _Trial(NamedTuple):
    """A row of the table of trials."""

    trial_id: int
    number: int
    state: str
    started: Timestamp
    ended: Timestamp


def _check_numbers(trials: Sequence[_Trial]) -> None:
    known: set[int] = set()
    with _Reading({}) as at:
        for trial in trials:
            at.trial_id = trial.trial_id
            count(trial.number, "its number")
            if trial.number in known:
                raise StoredValueError(f"another one has its number, {trial.number}")
            known.add(trial.number)


class _Reading:
    """Names the trial and the row in the error of reading some."""

    __slots__ = ("_names", "_part", "param", "trial_id")

    def __init__(self, names: Mapping[int, str], part: str = "") -> None:
        self._names, self._part = names, part
        self.trial_id, self.param = -1, ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _UNREADABLE):
            why = str(error) if isinstance(error, StoredValueError) else f"it cannot be read ({_brief(error)})"
            trial = self._names.get(self.trial_id, f"the trial with id {shown(self.trial_id)}")
            said = f'parameter "{self.param}"' if self.param else self._part
            part = f", {said}" if said else ""
            raise StoredValueError(f"{trial}{part}: {why}", trial_id=self.trial_id) from error


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {shown(str(error))}"


def _measured(number: object, kind: str) -> float:
    """A value or an intermediate value from its two columns."""
    if type(number) is float and kind == "FINITE" and math.isfinite(number):  # nearly all
        return number
    if kind == "FINITE" and number is not None:
        finite(number, "its number")
        assert isinstance(number, int | float)
        return float(number)
    return _SPECIAL[kind]


@cache
def _reader_of(distribution: str) -> Callable[[float], ParamValue]:
    """How a parameter under a distribution (JSON) is read from the number that Optuna stores."""
    parsed = decode(distribution)
    name = parsed["name"]
    if name == "CategoricalDistribution":
        choices = [c if isinstance(c, bool | int | float | str) else str(c) for c in parsed["attributes"]["choices"]]
        return partial(_choice, choices)
    return partial(_number, int if name.startswith("Int") else float)


def _choice(choices: Sequence[ParamValue], index: float) -> ParamValue:
    if index not in range(len(choices)):
        raise refuse("its value", f"the place of one of {len(choices)} choices", index)
    return choices[int(index)]


def _number(kind: type[int] | type[float], value: float) -> ParamValue:
    finite(value, "its value")
    return kind(value)


@dataclass(frozen=True, slots=True)
class PlainTrial:
    """A trial of a study that tuner did not make: Optuna's facts, and nothing about epochs."""

    row: _Trial
    params: Mapping[str, ParamValue]
    steps: tuple[tuple[int, float], ...]
    """(step, reported value)."""
    value: float | None

    def record(self, direction: Direction) -> TrialRecord:
        """The record that comes closest: each report counts as a rung, measurements that there are not are NaN."""
        state = _OPTUNA_STATES[self.row.state]
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
            number=self.row.number,
            params=self.params,
            seed=None,
            state=state,
            reason=FailureReason.ERROR.value if state is TrialState.FAILED else "",
            rungs=tuple(rungs),
            best=_unmeasured(best, seconds) if best else None,
            last=_unmeasured(points[-1], seconds) if points else None,
            started=_iso(self.row.started),
            ended=_iso(self.row.ended),
        )

    def _seconds(self) -> float:
        started, ended = _iso(self.row.started), _iso(self.row.ended)
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
