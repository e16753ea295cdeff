"""Trial records as the data of a model: points, training lengths and values on a common scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.records import Direction, TrialRecord, TrialState
from tuner.search.cube import Array
from tuner.search.observe import failed_by_configuration, worst_value

_DEEPEST = 150.0
"""How far below the median a value counts at most, in distances from the median to the best: beyond, the
configuration is hopeless whatever the number, and a loss of a million would leave the good ones alike."""


@dataclass(frozen=True, kw_only=True)
class Observations:
    """One row for each rung that a trial reached, and one for where a running trial stands."""

    x: Array
    """Shape (observations, columns + 1): unit coordinates, then the training length in [0, 1]."""
    y: Array
    """Standardised values; larger is better whatever the objective's direction."""


def _length_of(epoch: int, *, epochs: int) -> float:
    """A training length in [0, 1], on a logarithmic scale: 1 is the full training."""
    if epoch >= epochs:
        return 1.0
    return math.log(max(epoch, 1)) / math.log(epochs)


def observe(
    records: Sequence[TrialRecord], points: Sequence[Array], *, direction: Direction, epochs: int, running: bool
) -> Observations | None:
    """What the records say; None before the first value.

    A trial that its configuration made fail counts as the worst value so far, at full length. How far a value
    lies below the median counts by its logarithm from where it is as far from it as the best is: how bad a bad
    configuration is would drown the differences among the good ones, but that it is bad must show.

    Args:
        records: All trials.
        points: Their configurations in unit coordinates, each of shape (columns,).
        direction: Of the dev metric.
        epochs: Of a full training.
        running: Whether to count what running trials have measured since they were sent on.
    """
    worst = worst_value(records, direction)
    if worst is None:
        return None
    rows: list[Array] = []
    values: list[float] = []
    for record, point in zip(records, points, strict=True):
        for epoch, value in _measured(record, epochs=epochs, worst=worst, running=running):
            rows.append(np.append(point, _length_of(epoch, epochs=epochs)))
            values.append(direction.sign * value)
    if not values:
        return None
    y = np.array(values)
    y = _compressed(y)
    spread = float(y.std()) or 1.0
    return Observations(x=np.array(rows), y=(y - y.mean()) / spread)


def _compressed(y: Array) -> Array:
    """Values with the lower tail pulled in; larger is better."""
    median = float(np.median(y))
    reach = float(y.max()) - median
    if reach <= 0.0:
        return np.maximum(y, median)
    depth = np.clip((median - y) / reach, 1.0, _DEEPEST)
    return np.where(depth > 1.0, median - reach * (1.0 + np.log(depth)), y)


def _measured(record: TrialRecord, *, epochs: int, worst: float, running: bool) -> list[tuple[int, float]]:
    if failed_by_configuration(record):
        return [(epochs, worst)]
    if record.state is TrialState.FAILED:
        return []
    measured = [(epoch, value) for epoch, value in record.rungs if math.isfinite(value)]
    if running and record.state is TrialState.RUNNING and record.value is not None and math.isfinite(record.value):
        measured = [*(m for m in measured if m[0] < record.epochs), (record.epochs, record.value)]
    if record.state is TrialState.COMPLETE and measured:
        # Early stopping: more epochs would not have brought more.
        measured[-1] = (epochs, measured[-1][1])
    return measured
