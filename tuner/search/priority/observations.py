"""Trial records as the data of a model: points, training lengths and values on a common scale."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np

from tuner.records import Direction, TrialRecord, TrialState
from tuner.search.cube import Array
from tuner.search.observe import failed_by_configuration

_DEEPEST = 150.0
"""How far below the median a value counts at most, in distances from the median to the best: beyond, the
configuration is hopeless whatever the number, and a loss of a million would leave the good ones alike."""


Measured: TypeAlias = tuple[tuple[float, float], ...]
"""(training length, value) of one trial; a NaN stands for the worst value of all."""


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
    measured: Sequence[Measured], points: Array, *, direction: Direction, worst: float | None
) -> Observations | None:
    """What the trials say; None before the first value.

    A trial that its configuration made fail counts as the worst value so far, at full length. How far a value
    lies below the median counts by its logarithm from where it is as far from it as the best is: how bad a bad
    configuration is would drown the differences among the good ones, but that it is bad must show.

    Args:
        measured: Of each trial, by `measured_by`.
        points: Their configurations in unit coordinates, shape (trials, columns).
        direction: Of the dev metric.
        worst: The worst value of all.
    """
    rows = [(place, length, value) for place, found in enumerate(measured) for length, value in found]
    if worst is None or not rows:
        return None
    places, lengths, values = zip(*rows, strict=True)
    y = direction.sign * np.array(values)
    y = _compressed(np.where(np.isnan(y), direction.sign * worst, y))
    spread = float(y.std()) or 1.0
    x = np.column_stack([points[np.array(places)], lengths])
    return Observations(x=x, y=(y - y.mean()) / spread)


def _compressed(y: Array) -> Array:
    """Values with the lower tail pulled in; larger is better."""
    median = float(np.median(y))
    reach = float(y.max()) - median
    if reach <= 0.0:
        return np.maximum(y, median)
    depth = np.clip((median - y) / reach, 1.0, _DEEPEST)
    return np.where(depth > 1.0, median - reach * (1.0 + np.log(depth)), y)


@cache
def measured_by(epochs: int, *, running: bool) -> Callable[[TrialRecord], Measured]:
    """A function that says what a trial has measured.

    Args:
        epochs: Of a full training.
        running: Whether to count what running trials have measured since they were sent on.
    """

    def measured(record: TrialRecord) -> Measured:
        if failed_by_configuration(record):
            return ((1.0, math.nan),)
        if record.state is TrialState.FAILED:
            return ()
        found = [(epoch, value) for epoch, value in record.rungs if math.isfinite(value)]
        if running and record.state is TrialState.RUNNING and record.value is not None and math.isfinite(record.value):
            found = [*(m for m in found if m[0] < record.epochs), (record.epochs, record.value)]
        if record.state is TrialState.COMPLETE and found:
            # Early stopping: more epochs would not have brought more.
            found[-1] = (epochs, found[-1][1])
        return tuple((_length_of(epoch, epochs=epochs), value) for epoch, value in found)

    return measured
