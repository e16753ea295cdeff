"""Would more trials help? What the best of k random trials of the study is expected to reach, for every k."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tuner.ranking import finite_value
from tuner.records import Direction, TrialRecord
from tuner.report.certainty.weighted import Array
from tuner.report.words.numbers import difference_text

_MIN_TRIALS = 8
_MOST_COUNTS = 200
"""Each takes a look at all trials."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BestOfK:
    """Expected best dev metric of k trials, drawn from the study's own without putting back."""

    counts: tuple[int, ...]
    """Each k, from 1 to the number of trials; of many trials some, evenly spaced on a log scale."""
    mean: Array
    low: Array
    """Of the middle 80 % of draws."""
    high: Array
    gain: float
    """What the second half of the trials added, in the metric's units; never negative."""
    noise: float | None
    """Luck of a single trial, for comparison."""

    def text(self, metric: str) -> str:
        """The answer in a sentence."""
        half, whole = self.counts[-1] // 2, self.counts[-1]
        gain = difference_text(self.gain, metric=metric)
        said = f"Going from {half} to {whole} trials improved the expected best by {gain}"
        if not self.noise:
            return f"{said}."
        noise = difference_text(self.noise, metric=metric)
        if self.gain < self.noise / 2:
            return f"{said}, less than the noise of the dev set ({noise}): more of the same will hardly help."
        return f"{said}; the noise of the dev set is {noise}. Doubling the trials may bring as much again."


def best_of_k(records: Sequence[TrialRecord], *, direction: Direction, noise: float | None = None) -> BestOfK | None:
    """The curve over all trials with a value, whatever their end; None for fewer than eight.

    Exact for random search. A search that learns does better later than earlier, so that this understates it a little.
    """
    sign = direction.sign
    values = np.sort([sign * v for r in records if (v := finite_value(r)) is not None])
    total = len(values)
    if total < _MIN_TRIALS:
        return None
    some = np.geomspace(1, total, _MOST_COUNTS).round().astype(int)
    counts = np.arange(1, total + 1) if total <= _MOST_COUNTS else np.union1d(some, [total // 2])
    mean, low, high = np.empty(len(counts)), np.empty(len(counts)), np.empty(len(counts))
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])
    for place, k in enumerate(counts.tolist()):
        # P(best of k is among the i smallest) = C(i, k) / C(total, k), nothing for i < k.
        chosen = log_factorial[k:] - log_factorial[: total - k + 1]
        within = np.exp(chosen - chosen[-1])
        best = values[k - 1 :]
        mean[place] = float(np.diff(within, prepend=0.0) @ best)
        low[place] = best[np.searchsorted(within, 0.1)]
        high[place] = best[min(len(best) - 1, int(np.searchsorted(within, 0.9)))]
    gain = float(mean[-1] - mean[np.searchsorted(counts, total // 2)])
    ends = (sign * low, sign * high)
    return BestOfK(
        counts=tuple(counts.tolist()), mean=sign * mean, low=np.minimum(*ends), high=np.maximum(*ends),
        gain=max(0.0, gain), noise=noise,
    )  # fmt: skip
