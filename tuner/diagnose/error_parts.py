"""Bias and variance as Ng teaches them: train error against the target error, dev error against train error.

The recipe asks first whether the network *can* fit the training set. A best trial is one that early stopping and
regularisation kept from doing so: its own train error would call bias what is variance held back. So the train error
is the least that networks of its size have reached at any epoch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from tuner.diagnose.intervals import Interval, difference_interval, wilson_interval
from tuner.records import Direction, EpochResult
from tuner.spec.known.metrics import METRICS, SHARES

_MATERIAL_SHARE = 0.005
"""Half a percentage point: a smaller part of an error rate is not worth acting on."""
_TARGET_SLACK = 0.0025
"""So little above the target error counts as having reached it."""
_MATERIAL_PART = 0.25
"""A part below a quarter of the dev error is not what to act on."""


class Verdict(StrEnum):
    """What the dev error of a trained network mostly consists of."""

    BIAS = "bias"
    """The training error is above the target: the network does not fit even its training examples."""
    VARIANCE = "variance"
    """The dev error is above the training error: it does not generalise."""
    BOTH = "bias and variance"
    AT_TARGET = "at target"
    """The dev error is no worse than the target error."""
    MISMATCH = "mismatch"
    """The dev error is above that of held-out training examples: train and dev are of different distributions."""
    UNDECIDED = "undecided"
    """Neither part can be told from zero with so few examples."""
    BIAS_OR_NOISE = "bias or noise"
    """The network does not fit its training examples, and no target error says how far that is possible."""
    NO_BETTER_THAN_A_GUESS = "no better than a guess"
    """Nothing was learned that helps on the dev set, so that its error says nothing of the network."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What another model shows to be possible on the same dev set."""

    by: str
    """Its name."""
    value: float
    """Its dev metric."""
    interval: Interval
    """Of that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ErrorParts:
    """The error of one trained network, taken apart. Errors are in the metric's units, 0 for a perfect network."""

    metric: str
    train_error: float
    """The least that networks of its size have reached."""
    own_train_error: float
    """Its own, at its best epoch."""
    dev_error: float
    target_error: float
    target_given: bool
    """Whether the sweep file states the target; otherwise it is between 0 and the train error, and shown as 0."""
    guess_error: float | None
    """Of the best constant answer, on the dev set; None if it is not known."""
    reached_error: float | None
    """Dev error of a simple model that the training error lies above for sure: so much of it at least is bias."""
    reached_by: str
    """The name of that model; empty if there is none."""
    bias: float
    """Train error less target error: without a target, the most that it may be."""
    bias_interval: Interval
    variance: float
    """Train-dev error less train error; dev error less train error where no training examples are held out."""
    variance_interval: Interval
    train_dev_error: float | None
    """On held-out examples of the training distribution; None where there are none."""
    mismatch: float
    """Dev error less train-dev error; 0 where that is not known."""
    mismatch_interval: Interval
    material: float
    """A part smaller than this is not worth acting on."""
    verdict: Verdict

    @property
    def seems_better(self) -> bool:
        """Whether the dev error is below that of the best constant answer, be it by chance."""
        return self.guess_error is not None and self.dev_error < self.guess_error

    def text(self, error: float) -> str:
        """One of its errors, as people say it."""
        return error_text(self.metric, error)


def error_of(metric: str, value: float) -> float:
    """A metric's value as an error, 0 for a perfect network."""
    return METRICS[metric].error_of(value)


def error_text(metric: str, error: float) -> str:
    """An error as people say it: in percent where the metric is a share."""
    return f"{100 * error:.1f} %" if metric in SHARES else f"{error:.3g}"


def error_parts(
    result: EpochResult,
    *,
    metric: str,
    num_train: int | None,
    num_dev: int | None,
    target_error: float | None = None,
    dev_interval: Interval | None = None,
    fitted: float | None = None,
    guess_error: float | None = None,
    guess_margin: float | None = None,
    reached: Reached | None = None,
    train_dev: tuple[float, int] | None = None,
) -> ErrorParts | None:
    """Take a network's dev error apart.

    Args:
        result: Its best epoch.
        metric: The objective's metric.
        num_train: Training examples; None if not known.
        num_dev: Dev examples; None if not known.
        target_error: Error of a human expert or of the best known system; stands in for the Bayes error.
        dev_interval: Interval of the dev metric, if a better one than from `num_dev` is at hand.
        fitted: The training metric that networks of its size have reached (`tuner.capacity`); its own if None.
        guess_error: Of the best constant answer on the dev set, if it is known.
        guess_margin: Half the width of the interval of what the network is better by, from pairs of examples; without
            it the interval of the dev error is what must not reach that answer.
        reached: What a simple model shows to be possible. It bounds the Bayes error from above, so it can show that an
            error is bias, or that there is something to learn, and never that a target is reached.
        train_dev: The metric on held-out training examples and their number, if there are any.

    Returns:
        None for a metric that is not known here, or that is not a finite number.
    """
    if metric not in METRICS or not (math.isfinite(result.train_metric) and math.isfinite(result.dev_metric)):
        return None
    own_train_error, dev_error = error_of(metric, result.train_metric), error_of(metric, result.dev_metric)
    train_error = own_train_error if fitted is None else min(own_train_error, error_of(metric, fitted))
    of_train = _error_interval(metric, train_error, num_train)
    of_dev = _error_interval(metric, dev_error, num_dev)
    if dev_interval is not None:
        of_dev = _as_error(metric, dev_interval)
    target = target_error or 0.0
    bias, bias_interval = train_error - target, of_train.shifted(-target)
    unseen_error, of_unseen = dev_error, of_dev
    if train_dev is not None:
        unseen_error = error_of(metric, train_dev[0])
        of_unseen = _error_interval(metric, unseen_error, train_dev[1])
    variance, mismatch = unseen_error - train_error, dev_error - unseen_error
    variance_interval = difference_interval(unseen_error, of_unseen, train_error, of_train)
    mismatch_interval = difference_interval(dev_error, of_dev, unseen_error, of_unseen)
    material = _MATERIAL_PART * dev_error
    if metric in SHARES:
        material = max(material, _MATERIAL_SHARE)
    can_be_learnt = is_surely_bias = False
    highest = of_dev.high if guess_margin is None else dev_error + guess_margin
    if reached is not None:
        possible, of_possible = error_of(metric, reached.value), _as_error(metric, reached.interval)
        can_be_learnt = guess_error is not None and of_possible.high < guess_error
        surely = difference_interval(train_error, of_train, possible, of_possible)
        is_surely_bias = target_error is None and train_error - possible >= material and surely.low > 0
    return ErrorParts(
        metric=metric,
        train_error=train_error,
        own_train_error=own_train_error,
        dev_error=dev_error,
        target_error=target,
        target_given=target_error is not None,
        guess_error=guess_error,
        reached_error=error_of(metric, reached.value) if reached is not None and is_surely_bias else None,
        reached_by=reached.by if reached is not None and is_surely_bias else "",
        bias=bias,
        bias_interval=bias_interval,
        variance=variance,
        variance_interval=variance_interval,
        train_dev_error=None if train_dev is None else unseen_error,
        mismatch=mismatch,
        mismatch_interval=mismatch_interval,
        material=material,
        verdict=_verdict(
            has_bias=bias >= material and bias_interval.low > 0,
            has_variance=variance >= material and variance_interval.low > 0,
            mostly_mismatch=mismatch >= material
            and mismatch_interval.low > 0
            and mismatch >= max(variance, bias if target_error is not None else 0.0),
            at_target=dev_error <= target + (_TARGET_SLACK if metric in SHARES and target_error else 0.0),
            is_told_from_noise=target_error is not None or is_surely_bias,
            is_guess=guess_error is not None and highest >= guess_error and not can_be_learnt,
        ),
    )


def _as_error(metric: str, interval: Interval) -> Interval:
    """The interval of a metric as that of its error."""
    return interval if METRICS[metric].direction is Direction.MINIMIZE else interval.mirrored(1.0)


def _verdict(
    *,
    has_bias: bool,
    has_variance: bool,
    mostly_mismatch: bool,
    at_target: bool,
    is_told_from_noise: bool,
    is_guess: bool,
) -> Verdict:
    if at_target:
        return Verdict.AT_TARGET
    if mostly_mismatch:  # also where it leaves the dev error no better than a guess
        return Verdict.MISMATCH
    if is_guess:
        return Verdict.NO_BETTER_THAN_A_GUESS
    match has_bias, has_variance:
        case True, True:
            return Verdict.BOTH if is_told_from_noise else Verdict.VARIANCE
        case True, False:
            return Verdict.BIAS if is_told_from_noise else Verdict.BIAS_OR_NOISE
        case False, True:
            return Verdict.VARIANCE
        case _:
            return Verdict.UNDECIDED


def _error_interval(metric: str, error: float, count: int | None) -> Interval:
    """From the number of examples alone; without it, the error is taken as exact."""
    if count is None or count < 2:
        return Interval(error, error)
    if metric in SHARES:
        return wilson_interval(error, count)
    # Of a root mean square of normal residuals; a loss or R2 is at least as noisy.
    relative = 1.96 / math.sqrt(2 * count) if metric == "rmse" else 1.96 / math.sqrt(count)
    return Interval(error * (1 - relative), error * (1 + relative))
