"""The order of trials: finished ones by dev metric, and everything else apart from them."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tuner.records import Direction, TrialRecord, TrialState

_APART = (TrialState.RUNNING, TrialState.PAUSED, TrialState.PRUNED, TrialState.FAILED)


def rank_trials(records: Iterable[TrialRecord], *, direction: Direction) -> list[TrialRecord]:
    """The COMPLETE trials, best first, by the dev metric of their best epoch.

    Trials that break a constraint come after all that keep them, the least violation first. Among equals the smaller
    network comes first, then the earlier trial. A trial whose metric is not a finite number is not ranked.
    """
    finished = [r for r in records if r.state is TrialState.COMPLETE and _usable(r)]
    return sorted(finished, key=lambda r: (r.violation, _loss(r, direction), r.num_parameters, r.number))


def trials_apart(records: Iterable[TrialRecord], *, direction: Direction) -> list[TrialRecord]:
    """The trials that `rank_trials` leaves out.

    Running and paused ones come first, then pruned, failed, and those finished without a usable metric.
    Within each state the best value seen comes first.
    """
    rest = [r for r in records if r.state is not TrialState.COMPLETE or not _usable(r)]

    def key(record: TrialRecord) -> tuple[int, float, int]:
        state = _APART.index(record.state) if record.state in _APART else len(_APART)
        return (state, _loss(record, direction) if _usable(record) else math.inf, record.number)

    return sorted(rest, key=key)


def best_trial(records: Iterable[TrialRecord], *, direction: Direction) -> TrialRecord | None:
    """The first of `rank_trials`; None while no trial has finished."""
    ranked = rank_trials(records, direction=direction)
    return ranked[0] if ranked else None


def _usable(record: TrialRecord) -> bool:
    return record.value is not None and math.isfinite(record.value)


def _loss(record: TrialRecord, direction: Direction) -> float:
    """The value turned so that smaller is better."""
    assert record.value is not None
    return -record.value if direction is Direction.MAXIMIZE else record.value
