"""Whether networks of a size can fit the training set: what the recipe asks first, and a regularised trial hides."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tuner.records import Direction, EpochResult, TrialRecord


def train_metric_reached(
    records: Iterable[TrialRecord], *, direction: Direction, most_parameters: int | None = None
) -> float | None:
    """The best metric on the training set that any of the trials has shown, at its best epoch or at its last.

    Early stopping and regularisation give a better fit up for a better dev metric; what a network can fit shows in the
    trials, and in the epochs, in which they did not.

    Args:
        records: Trials.
        direction: Of the metric.
        most_parameters: Of networks no larger than this alone: what a smaller one fits, a larger one can.
    """
    some = [r for r in records if most_parameters is None or r.num_parameters <= most_parameters]
    found = [value for r in some for value in map(_train_metric, (r.best, r.last)) if value is not None]
    return max(found, key=lambda value: direction.sign * value, default=None)


def _train_metric(result: EpochResult | None) -> float | None:
    return result.train_metric if result is not None and math.isfinite(result.train_metric) else None
