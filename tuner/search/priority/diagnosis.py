"""Bias or variance: what the best trials need, after Ng's diagnosis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tuner.capacity import train_metric_reached
from tuner.records import Direction, TrialRecord, TrialState
from tuner.search.observe import by_value, in_state
from tuner.trials import trials_of

_NUM_BEST = 3
"""Whose median is looked at: one alone may owe its place to luck."""
_NOISE_FACTOR = 2.0
"""A difference counts from so many standard errors on."""
_LEAST_DIFFERENCE = 1e-3
"""Where the noise is unknown, or nearly none on a large dev set: less is not worth a regularisation tier."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What limits the best trials; each number is the median of the best.

    How well they fit the training set is how well they did at any epoch (`tuner.capacity`): what early stopping gave up
    of it is no bias, but variance that it held back.
    """

    gap: float
    """How much worse they are on the dev set, or on held-out training examples, than they were on the training set."""
    bias: float
    """How much worse they were on the training set than the target."""
    noise: float
    """What a difference must exceed to count."""
    in_full: bool
    """Whether a trial has been trained in full: before, what looks like bias may be a lack of training."""

    @property
    def shows_variance(self) -> bool:
        """Whether regularisation may help."""
        return self.gap > self.noise

    @property
    def shows_bias(self) -> bool:
        """Whether the network does not even fit its training set, and that matters more than variance."""
        return self.in_full and self.bias > max(self.noise, self.gap)


def diagnose(
    records: Sequence[TrialRecord], *, direction: Direction, noise: float, target_error: float
) -> Diagnosis | None:
    """Look at the best trials; None before a trial has passed the first rung, where all are still learning.

    Args:
        records: All trials.
        direction: Of the dev metric. Where larger is better, 1 is perfect, and the error is what is missing.
        noise: Standard error of the dev metric.
        target_error: The error that is as good as it gets.
    """
    trials = trials_of(records)
    in_full = bool(in_state(trials, TrialState.COMPLETE))
    if not in_full and not trials.total(_is_past_first_rung):
        return None
    sign = -direction.sign
    best = [(record.value or 0.0, record) for record in by_value(trials, direction)[:_NUM_BEST]]
    fits = [train_metric_reached(record, direction=direction) for _, record in best]
    reached = [math.nan if fit is None else fit for fit in fits]
    # What held-out training examples do not show is a mismatch of train and dev, and no variance.
    unseen = [value if record.train_dev_metric is None else record.train_dev_metric for value, record in best]
    gap = median(sign * (value - fit) for value, fit in zip(unseen, reached, strict=True))
    train_error = median(_as_error(fit, direction) for fit in reached)
    if not (math.isfinite(gap) and math.isfinite(train_error)):
        return None
    least = _least_difference(train_error, noise)
    return Diagnosis(gap=gap, bias=train_error - target_error, noise=least, in_full=in_full)


def _is_past_first_rung(record: TrialRecord) -> bool:
    return len(record.rungs) > 1


def still_learns(record: TrialRecord, *, direction: Direction, noise: float, target_error: float) -> bool:
    """Whether a trial does not fit its training set yet, so that more epochs may bring more than others' curves say.

    Args:
        record: The trial.
        direction: Of the dev metric.
        noise: Standard error of the dev metric.
        target_error: The error that is as good as it gets.
    """
    fit = train_metric_reached(record, direction=direction)
    if fit is None:
        return False
    error = _as_error(fit, direction)
    return error - target_error > _least_difference(error, noise)


def _as_error(metric: float, direction: Direction) -> float:
    return 1.0 - metric if direction is Direction.MAXIMIZE else metric


def _least_difference(error: float, noise: float) -> float:
    return max(_NOISE_FACTOR * noise, _LEAST_DIFFERENCE * max(1.0, abs(error)))
