"""Whether more training examples would help, by what the last ones have brought."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from tuner.diagnose.intervals import CONFIDENCE, Interval

_MATERIAL_PART = 0.1
"""Less than a tenth of the dev error is not what examples are collected for."""


class MoreData(StrEnum):
    """What the last step of a learning curve says of more examples."""

    HELPS = "would probably help"
    HARDLY = "would hardly help"
    CANNOT_TELL = "cannot be told"


def more_data(gain: Interval, *, error: float) -> MoreData:
    """Judge the last step of a learning curve.

    Args:
        gain: By how much the dev metric is better with all examples than with the part before, its interval.
        error: The dev error with all.
    """
    worth = _MATERIAL_PART * error
    if gain.high < worth or error == 0:
        return MoreData.HARDLY
    return MoreData.HELPS if gain.low > 0 else MoreData.CANNOT_TELL


def mean_interval(mean: float, *, dev_variance: float, seeds: Sequence[Sequence[float]], count: int) -> Interval | None:
    """The interval of a mean over seeds: what another dev set would make of it, and what other seeds and parts would.

    The spread over seeds is pooled over groups; degrees of freedom are Welch's and Satterthwaite's.

    Args:
        mean: Of the values.
        dev_variance: Of the mean, over dev sets of this size with the same networks.
        seeds: Groups of values that differ by their seeds.
        count: Seeds that the mean is of.

    Returns:
        None with one seed in each group.
    """
    from scipy.special import stdtrit  # takes a fifth of a second to load, which most reports do not need

    freedom = sum(len(group) - 1 for group in seeds if group)
    if freedom < 1:
        return None
    squares = sum(float(np.square(np.asarray(group) - np.mean(group)).sum()) for group in seeds if group)
    of_seeds = squares / freedom / count
    variance = dev_variance + of_seeds
    effective = freedom * (variance / of_seeds) ** 2 if of_seeds > 1e-12 * variance else math.inf
    half = float(stdtrit(min(effective, 1e6), (1 + CONFIDENCE) / 2)) * math.sqrt(variance)
    return Interval(mean - half, mean + half)
