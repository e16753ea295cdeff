"""One order of all trials, finished or not, so that what was pruned or diverged still teaches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuner.ranking import diverged, usable_value
from tuner.records import Direction, TrialRecord


def rank_scores(
    records: Sequence[TrialRecord], *, direction: Direction
) -> tuple[list[TrialRecord], NDArray[np.float64]]:
    """The trials that tell something of their hyperparameters, each with its rank from 0 (worst) to 1 (best).

    A pruned trial has the rank of the value that it had reached; a diverged one is worse than all others. Trials that
    failed for other reasons, or have no value yet, are left out. Equal trials share their mean rank.
    """
    telling: list[TrialRecord] = []
    values: list[float] = []
    for record in records:
        if diverged(record):
            telling.append(record)
            values.append(-math.inf)
        elif (value := usable_value(record)) is not None:
            telling.append(record)
            values.append(direction.sign * value)
    if len(values) < 2:
        return telling, np.full(len(values), 0.5)
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts + 1) / 2
    return telling, mean_rank[place] / (len(values) - 1)
