"""What trial records say to a strategy: values, failures that teach, rungs reached, the best so far."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TypeAlias

from tuner.ranking import usable_value
from tuner.records import Direction, FailureReason, TrialRecord, TrialState
from tuner.trials import OrderKey, Trials, trials_of

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


@cache
def rank_for_search(direction: Direction) -> OrderKey:
    """Where a trial stands in `best_first`."""

    def key(record: TrialRecord) -> tuple[float, float] | None:
        value = usable_value(record)
        return None if value is None else (record.violation, -direction.sign * value)

    return key


def best_first(records: Iterable[TrialRecord], direction: Direction) -> Sequence[TrialRecord]:
    """The trials that have a usable value, best first, those that break a constraint behind all that keep them.

    It is not quite the order of the leaderboard: whether a trial has finished makes no difference to a search, and
    equals stay in their order.
    """
    return (records if isinstance(records, Trials) else Trials([*records])).ordered(rank_for_search(direction))


@cache
def _by_value(direction: Direction) -> OrderKey:
    def key(record: TrialRecord) -> tuple[float] | None:
        value = usable_value(record)
        return None if value is None else (-direction.sign * value,)

    return key


def by_value(records: Sequence[TrialRecord], direction: Direction) -> Sequence[TrialRecord]:
    """The trials that have a usable value, best first, whether or not they break a constraint."""
    return trials_of(records).ordered(_by_value(direction))


def worst_value(records: Sequence[TrialRecord], direction: Direction) -> float | None:
    """The worst usable value: what a failed configuration is taken to be worth. None without any."""
    ordered = by_value(records, direction)
    return ordered[-1].value if ordered else None


@cache
def _of_state(state: TrialState) -> OrderKey:
    return lambda record: () if record.state is state else None


def in_state(trials: Trials, state: TrialState) -> Sequence[TrialRecord]:
    """The trials of this state, by number."""
    return trials.ordered(_of_state(state))


def num_unended(trials: Trials) -> int:
    """How many trials have no final state."""
    return len(in_state(trials, TrialState.RUNNING)) + len(in_state(trials, TrialState.PAUSED))


def values_at_rungs(record: TrialRecord, rungs: Sequence[int]) -> tuple[tuple[int, float], ...]:
    """(rung, best dev metric so far) for each of these rungs at which an advance of the trial ended."""
    return tuple((epoch, value) for epoch, value in record.rungs if epoch in rungs and math.isfinite(value))


def no_noise(records: Sequence[TrialRecord]) -> float:
    """The noise of a metric of which nothing is known."""
    return 0.0
