"""What trial records say to a strategy: values, failures that teach, rungs reached, the best so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from tuner.ranking import usable_value
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


def best_of(records: Iterable[TrialRecord], direction: Direction) -> TrialRecord | None:
    """The first of `best_first`; None where no trial has a usable value."""
    return next(iter(best_first(records, direction)), None)


def best_first(records: Iterable[TrialRecord], direction: Direction) -> list[TrialRecord]:
    """The trials that have a usable value, best first, those that break a constraint behind all that keep them.

    It is not quite the order of the leaderboard: whether a trial has finished makes no difference to a search, and
    equals stay in their order.
    """
    usable = [(r.violation, -direction.sign * v, r) for r in records if (v := usable_value(r)) is not None]
    return [record for *_, record in sorted(usable, key=lambda found: found[:2])]


def worst_value(records: Sequence[TrialRecord], direction: Direction) -> float | None:
    """The worst usable value: what a failed configuration is taken to be worth. None without any."""
    values = [value for record in records if (value := usable_value(record)) is not None]
    return min(values, key=lambda value: direction.sign * value, default=None)


def values_at_rungs(record: TrialRecord, rungs: Sequence[int]) -> tuple[tuple[int, float], ...]:
    """(rung, best dev metric so far) for each of these rungs at which an advance of the trial ended."""
    return tuple((epoch, value) for epoch, value in record.rungs if epoch in rungs and math.isfinite(value))


def no_noise(records: Sequence[TrialRecord]) -> float:
    """The noise of a metric of which nothing is known."""
    return 0.0
