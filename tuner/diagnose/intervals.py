"""Confidence intervals of shares and of differences between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
_Z = 1.959963984540054
"""Normal quantile of 0.975."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    def shifted(self, by: float) -> Interval:
        return Interval(self.low + by, self.high + by)

    def mirrored(self, around: float = 0.0) -> Interval:
        """The interval of `around - x`, as from an accuracy to its error with `around=1`."""
        return Interval(around - self.high, around - self.low)


def wilson_interval(share: float, count: int) -> Interval:
    """Of a share that was seen in `count` independent examples (Wilson 1927; never leaves [0, 1])."""
    assert count > 0
    share = min(1.0, max(0.0, share))
    shrink = 1 + _Z**2 / count
    centre = (share + _Z**2 / (2 * count)) / shrink
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / shrink
    # Rounding may leave the share itself just outside.
    return Interval(max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)))


def cross_validated_interval(scores: Sequence[float], *, num_train: int, num_dev: int) -> Interval:
    """Of the mean of the scores of folds.

    Networks of different folds share most of their training examples, so that their scores are not independent: the
    variance is that of Nadeau and Bengio (2003), (1 / folds + dev / train) times that of the scores, with a Student
    quantile.

    Args:
        scores: Of each fold, at least two.
        num_train: Training examples of a fold.
        num_dev: Dev examples of a fold.
    """
    count = len(scores)
    mean = math.fsum(scores) / count
    spread = sum((score - mean) ** 2 for score in scores) / (count - 1)
    half = student_quantile(count - 1) * math.sqrt((1 / count + num_dev / num_train) * spread)
    return Interval(mean - half, mean + half)


def auroc_interval(auroc: float, *, class_counts: Sequence[int], variance: float) -> Interval:
    """Of an area under the ROC curve, also near 1, where the bootstrap sees no mistake to resample.

    The areas that lie within 1.96 standard errors of the one seen, each with the error that it would itself have
    (Hanley and McNeil 1982, as solved by Newcombe 2006). With more than two classes the area is the mean over them,
    each against the rest; `variance` says how far their errors go together.

    Args:
        auroc: The area.
        class_counts: Examples of each class.
        variance: Of the area, from a bootstrap.
    """
    total = sum(class_counts)
    known = [n for n in class_counts if 0 < n < total]
    positives = known[1:] if len(class_counts) == 2 else known
    if not positives:
        return Interval(0.0, 1.0)

    def expected_variance(area: float) -> float:
        shape = (1 - area) / (2 - area) + area / (1 + area)
        spread = area * (1 - area) * (1 + (total / 2 - 1) * shape)
        return spread * sum(1 / (n * (total - n)) for n in positives) / len(positives) ** 2

    inner = min(max(auroc, 0.5 / total), 1 - 0.5 / total)
    inflation = min(max(variance / expected_variance(inner), 1.0), float(len(positives)))

    def is_near(area: float) -> bool:
        return (area - auroc) ** 2 <= _Z**2 * inflation * expected_variance(area)

    return Interval(_edge(is_near, inner, 0.0), _edge(is_near, inner, 1.0))


def _edge(holds: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where a condition ends between a number for which it holds and one towards which it ceases to."""
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if holds(middle) else (inside, middle)
    return outside


def student_quantile(freedom: int) -> float:
    """Of Student's distribution, at the upper end of an interval."""
    from scipy.special import stdtrit  # takes a fifth of a second to load, which most reports do not need

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def difference_interval(a: float, of_a: Interval, b: float, of_b: Interval) -> Interval:
    """Of `a - b`, two independent estimates with their own intervals (Newcombe 1998, square-and-add)."""
    below = math.hypot(a - of_a.low, of_b.high - b)
    above = math.hypot(of_a.high - a, b - of_b.low)
    return Interval(a - b - below, a - b + above)
