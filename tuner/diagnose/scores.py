"""One order of all trials, finished or not, so that what was pruned or diverged still teaches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuner.records import Direction, FailureReason, TrialRecord, TrialState


def rank_scores(
    records: Sequence[TrialRecord], *, direction: Direction
) -> tuple[list[TrialRecord], NDArray[np.float64]]:
    """The trials that tell something of their hyperparameters, each with its rank from 0 (worst) to 1 (best).

    A pruned trial has the rank of the value that it had reached; a diverged one is worse than all others. Trials that
    failed for other reasons, or have no value yet, are left out. Equal trials share their mean rank.
    """
    sign = 1.0 if direction is Direction.MAXIMIZE else -1.0
    telling: list[TrialRecord] = []
    values: list[float] = []
    for record in records:
        if diverged(record):
            telling.append(record)
            values.append(-math.inf)
        elif record.state is not TrialState.FAILED and record.value is not None and math.isfinite(record.value):
            telling.append(record)
            values.append(sign * record.value)
    if len(values) < 2:
        return telling, np.full(len(values), 0.5)
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts + 1) / 2
    return telling, mean_rank[place] / (len(values) - 1)


def diverged(record: TrialRecord) -> bool:
    """Whether the trial ended because its loss did."""
    return record.state is TrialState.FAILED and record.reason.startswith(FailureReason.DIVERGED.value)
