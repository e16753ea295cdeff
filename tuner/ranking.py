"""The order of trials: finished ones by dev metric, and everything else apart from them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from tuner.records import Direction, FailureReason, TrialRecord, TrialState

KEEP_WEIGHTS = 5
"""Weights are kept of so many of the best trials."""
_APART = (TrialState.RUNNING, TrialState.PAUSED, TrialState.PRUNED, TrialState.FAILED, TrialState.COMPLETE)


def rank_trials(records: Iterable[TrialRecord], *, direction: Direction) -> list[TrialRecord]:
    """The COMPLETE trials, best first, by the dev metric of their best epoch, in the order of `rank_key`.

    A trial whose metric is not a finite number is not ranked.
    """
    return sorted((r for r in records if _is_ranked(r)), key=rank_key(direction))


def rank_key(direction: Direction) -> Callable[[TrialRecord], tuple[float, float, int, int]]:
    """What sorts trials that have a value, best first.

    Trials that break a constraint come after all that keep them, the least violation first. Among equals the smaller
    network comes first, then the earlier trial.
    """
    return lambda r: (r.violation, -direction.sign * (r.value or 0.0), r.num_parameters, r.number)


def place_key(direction: Direction) -> Callable[[TrialRecord], tuple[float, ...]]:
    """What sorts all trials: those of `rank_trials`, whose key begins with 0, then those of `trials_apart`."""
    ranked = rank_key(direction)

    def key(record: TrialRecord) -> tuple[float, ...]:
        if _is_ranked(record):
            return (0, *ranked(record))
        value = finite_value(record)
        best_first = math.inf if value is None else -direction.sign * value
        return (1, _APART.index(record.state), best_first, record.number)

    return key


def num_winners(num_ranked: int) -> int:
    """How many of the best trials say where good values lie: one in ten, at least five, and no more than half."""
    return min(max(5, num_ranked // 10), num_ranked // 2)


def trials_apart(records: Iterable[TrialRecord], *, direction: Direction) -> list[TrialRecord]:
    """The trials that `rank_trials` leaves out.

    Running and paused ones come first, then pruned, failed, and those finished without a usable metric.
    Within each state the best value seen comes first.
    """
    return sorted((r for r in records if not _is_ranked(r)), key=place_key(direction))


def best_trial(records: Iterable[TrialRecord], *, direction: Direction) -> TrialRecord | None:
    """The first of `rank_trials`; None while no trial has finished."""
    return next(iter(rank_trials(records, direction=direction)), None)


def finite_value(record: TrialRecord) -> float | None:
    """The best dev metric so far, whatever became of the trial; None where there is none or it is not finite."""
    return record.value if record.value is not None and math.isfinite(record.value) else None


def usable_value(record: TrialRecord) -> float | None:
    """The best dev metric so far; None where there is none, it is not finite, or the trial failed."""
    return None if record.state is TrialState.FAILED else finite_value(record)


def diverged(record: TrialRecord) -> bool:
    """Whether the trial ended because its loss did."""
    return record.state is TrialState.FAILED and record.reason.startswith(FailureReason.DIVERGED)


def _is_ranked(record: TrialRecord) -> bool:
    return record.state is TrialState.COMPLETE and finite_value(record) is not None
