"""Reading a learning-rate range test: how the loss answered to a rate that rose with each step (arXiv 1506.01186)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_SMOOTHED = 2
"""Neighbours on each side that a loss is averaged with."""
_MARGIN = 3.0
"""How far below the rate of the lowest loss a rate must stay: that one is about to diverge."""
_LEAST_FALL = 0.05
"""Of the first loss; less is no learning."""
_EXPLODED = 1.5
"""A loss so many times the lowest, and above the first, has exploded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """What a range test suggests."""

    learning_rate: float
    low: float
    """Of a range to search."""
    high: float
    reason: str


def suggest(rates: Sequence[float], losses: Sequence[float]) -> Suggestion | None:
    """A learning rate and a range to search, or None if the loss never fell.

    The rate lies in the middle, on the log scale, between the one at which the loss falls fastest, which is cautious,
    and a third of the one at which it is lowest, which is bold.

    Args:
        rates: Rising, equally far from each other on a log scale.
        losses: After the step at each rate; may end in NaN or infinity.
    """
    smooth = smoothed(losses)
    first = smooth[0] if smooth else math.nan
    if len(smooth) < 2 * _SMOOTHED + 2 or not min(smooth) < (1 - _LEAST_FALL) * first:
        return None
    lowest = min(range(len(smooth)), key=lambda i: smooth[i])
    falls = [(smooth[i - 1] - smooth[i + 1], i) for i in range(1, lowest)] or [(0.0, lowest)]
    steepest = max(falls)[1]
    exploded = next((i for i in range(lowest, len(smooth)) if smooth[i] > max(_EXPLODED * smooth[lowest], first)), None)
    if exploded is None and len(smooth) < len(losses):
        exploded = len(smooth)  # the next loss is no number
    bold = rates[lowest] / _MARGIN
    rate = min(math.sqrt(rates[steepest] * bold), bold)
    end = "does not explode in this range" if exploded is None else f"explodes from {rates[exploded]:.2g} on"
    reason = f"the loss falls fastest at {rates[steepest]:.2g}, is lowest at {rates[lowest]:.2g} and {end}"
    return Suggestion(learning_rate=_round(rate), low=_round(rate / 10), high=_round(rates[lowest]), reason=reason)


def smoothed(losses: Sequence[float]) -> list[float]:
    """Each loss averaged with its neighbours, up to the first that is no number."""
    finite = next((i for i, loss in enumerate(losses) if not math.isfinite(loss)), len(losses))
    return [
        sum(losses[max(0, i - _SMOOTHED) : min(finite, i + _SMOOTHED + 1)])
        / (min(finite, i + _SMOOTHED + 1) - max(0, i - _SMOOTHED))
        for i in range(finite)
    ]


def _round(rate: float) -> float:
    return float(f"{rate:.1e}")
