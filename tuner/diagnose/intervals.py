"""Confidence intervals of shares and of differences between them."""

from __future__ import annotations

import math
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


def difference_interval(a: float, of_a: Interval, b: float, of_b: Interval) -> Interval:
    """Of `a - b`, two independent estimates with their own intervals (Newcombe 1998, square-and-add)."""
    below = math.hypot(a - of_a.low, of_b.high - b)
    above = math.hypot(of_a.high - a, b - of_b.low)
    return Interval(a - b - below, a - b + above)


def mean_interval(mean: float, sd: float, count: int) -> Interval:
    """Of a mean of `count` values with a known standard deviation."""
    half = _Z * sd / math.sqrt(count)
    return Interval(mean - half, mean + half)
