"""Whether networks of a size can fit the training set: what the recipe asks first, and a regularised trial hides."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tuner.records import Direction, EpochResult, TrialRecord


def train_metric_reached(record: TrialRecord, *, direction: Direction) -> float | None:
    """The best metric on the training set that a trial has shown, at its best epoch or at its last.

    Early stopping gives a better fit up for a better dev metric; what a network can fit shows in the other epochs.
    """
    found = [value for value in map(_train_metric, (record.best, record.last)) if value is not None]
    return max(found, key=lambda value: direction.sign * value, default=None)


def train_metric_by_size(records: Iterable[TrialRecord], *, direction: Direction) -> dict[int, float]:
    """For each number of parameters, the best that any trial with no more of them has reached.

    What a smaller network fits, a larger one can, and a regularised one shows less than it could.
    """
    found: dict[int, float] = {}
    best: float | None = None
    for record in sorted(records, key=lambda r: r.num_parameters):
        value = train_metric_reached(record, direction=direction)
        if value is not None and (best is None or direction.better(value, best)):
            best = value
        if best is not None:
            found[record.num_parameters] = best
    return found


def _train_metric(result: EpochResult | None) -> float | None:
    return result.train_metric if result is not None and math.isfinite(result.train_metric) else None
