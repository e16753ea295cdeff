"""Bias or variance: what the best trials need, after Ng's diagnosis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tuner.records import Direction, TrialRecord, TrialState
from tuner.search.observe import usable_value

_NUM_BEST = 3
_NOISE_FACTOR = 2.0
"""A difference counts from so many standard errors on."""
_LEAST_DIFFERENCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What limits the best trials; each number is the median of the best."""

    gap: float
    """How much worse they are on the dev set than on the training set."""
    bias: float
    """How much worse they are on the training set than the target."""
    noise: float
    """What a difference must exceed to count."""

    @property
    def shows_variance(self) -> bool:
        """Whether regularisation may help."""
        return self.gap > self.noise

    @property
    def shows_bias(self) -> bool:
        """Whether the network does not even fit its training set, and that matters more than variance."""
        return self.bias > max(self.noise, self.gap)


def diagnose(
    records: Sequence[TrialRecord], *, direction: Direction, noise: float, target_error: float
) -> Diagnosis | None:
    """Look at the best trials; None before a trial has been trained in full.

    Args:
        records: All trials.
        direction: Of the dev metric. Where larger is better, 1 is perfect, and the error is what is missing.
        noise: Standard error of the dev metric.
        target_error: The error that is as good as it gets.
    """
    if not any(record.state is TrialState.COMPLETE for record in records):
        return None
    sign = -1.0 if direction is Direction.MAXIMIZE else 1.0
    usable = [(value, r.best) for r in records if (value := usable_value(r)) is not None and r.best is not None]
    best = [result for _, result in sorted(usable, key=lambda pair: sign * pair[0])[:_NUM_BEST]]
    gap = median(sign * (result.dev_metric - result.train_metric) for result in best)
    train_error = median(1.0 - r.train_metric if direction is Direction.MAXIMIZE else r.train_metric for r in best)
    if not (math.isfinite(gap) and math.isfinite(train_error)):
        return None
    least = max(_NOISE_FACTOR * noise, _LEAST_DIFFERENCE * max(1.0, abs(train_error)))
    return Diagnosis(gap=gap, bias=train_error - target_error, noise=least)
