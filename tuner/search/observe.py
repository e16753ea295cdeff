"""What trial records say to a strategy: values, failures that teach, rungs reached, the best so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from tuner.records import Direction, FailureReason, TrialRecord, TrialState

Noise: TypeAlias = Callable[[Sequence[TrialRecord]], float]
"""Standard error of the dev metric near the best of these trials; 0 where it is not known."""

_BLAMELESS = (FailureReason.KILLED, FailureReason.EXITED, FailureReason.STALLED)


def failed_by_configuration(record: TrialRecord) -> bool:
    """Whether the configuration itself is why the trial failed, so that its like should be avoided.

    A killed process says nothing about the configuration; a divergence, an error, too little memory and too
    little time do.
    """
    return record.state is TrialState.FAILED and not record.reason.startswith(_BLAMELESS)


def usable_value(record: TrialRecord) -> float | None:
    """The best dev metric so far; None where there is none, it is not finite, or the trial failed."""
    if record.state is TrialState.FAILED or record.value is None or not math.isfinite(record.value):
        return None
    return record.value


def best_of(records: Iterable[TrialRecord], direction: Direction) -> TrialRecord | None:
    """The trial with the best usable value; the first of equals."""
    best: TrialRecord | None = None
    best_value = direction.worst
    for record in records:
        value = usable_value(record)
        if value is not None and (best is None or direction.better(value, best_value)):
            best, best_value = record, value
    return best


def worst_value(records: Sequence[TrialRecord], direction: Direction) -> float | None:
    """The worst usable value: what a failed configuration is taken to be worth. None without any."""
    values = [value for record in records if (value := usable_value(record)) is not None]
    if not values:
        return None
    return min(values) if direction is Direction.MAXIMIZE else max(values)


def values_at_rungs(record: TrialRecord, rungs: Sequence[int]) -> tuple[tuple[int, float], ...]:
    """(rung, best dev metric so far) for each of these rungs at which an advance of the trial ended."""
    return tuple((epoch, value) for epoch, value in record.rungs if epoch in rungs and math.isfinite(value))


def no_noise(records: Sequence[TrialRecord]) -> float:
    """The noise of a metric of which nothing is known."""
    return 0.0
