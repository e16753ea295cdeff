"""Would more trials help? The best of k trials, as if they had been drawn again from those of the study."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.records import Direction

_BAND = (0.05, 0.95)


@dataclass(frozen=True, kw_only=True)
class BestOf:
    """The best value among k trials, over all ways to draw them."""

    trials: int
    mean: float
    low: float
    """5 % of the draws are below."""
    high: float
    """5 % of the draws are above."""


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What the second half of the trials brought, and so what as many again may bring at most."""

    curve: tuple[BestOf, ...]
    gain: float
    """By how much the best of all trials is expected to be better than the best of half of them; not negative."""
    noise: float

    @property
    def more_would_help(self) -> bool:
        """Whether the gain is larger than the noise of the dev metric."""
        return self.gain > self.noise

    @property
    def text(self) -> str:
        """The answer in one sentence."""
        if self.more_would_help:
            return f"more trials may help: the second half of them brought {self.gain:.2g} (noise {self.noise:.2g})"
        return (
            f"more trials would hardly help: the second half of them brought {self.gain:.2g} (noise {self.noise:.2g})"
        )


def best_of_curve(values: Sequence[float], *, direction: Direction) -> tuple[BestOf, ...]:
    """The best of k trials for k = 1 .. len(values), drawn with replacement: exact, without simulation.

    The best of k draws is at most the i-th worst value with probability (i / n)**k.

    Args:
        values: The dev metric of each finished trial; those that are not finite are left out.
        direction: Which values are better.
    """
    sign = 1.0 if direction is Direction.MAXIMIZE else -1.0
    ascending = np.sort(sign * np.array([value for value in values if math.isfinite(value)]))
    n = len(ascending)
    curve = []
    for k in range(1, n + 1):
        at_most = (np.arange(1, n + 1) / n) ** k
        mean = float(np.diff(at_most, prepend=0.0) @ ascending)
        ends = [float(ascending[np.searchsorted(at_most, share)]) for share in _BAND]
        low, high = sorted(sign * end for end in ends)
        curve.append(BestOf(trials=k, mean=sign * mean, low=low, high=high))
    return tuple(curve)


def outlook(values: Sequence[float], *, direction: Direction, noise: float) -> Outlook | None:
    """Whether more trials would help; None from fewer than four.

    Trials are taken as independent draws. Those of a search that learns are not: late ones are better, so the curve
    understates what the search found and overstates what is left.

    Args:
        values: The dev metric of each finished trial.
        direction: Which values are better.
        noise: Standard error of the dev metric.
    """
    curve = best_of_curve(values, direction=direction)
    if len(curve) < 4:
        return None
    gain = abs(curve[-1].mean - curve[len(curve) // 2 - 1].mean)
    return Outlook(curve=curve, gain=gain, noise=noise)
