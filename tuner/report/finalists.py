"""What re-training the best trials on fresh seeds says: their true order, and how lucky the search's best was."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.special import stdtrit

from tuner.diagnose.intervals import CONFIDENCE, Interval
from tuner.records import Direction, TrialRecord
from tuner.store.reader import StudyData


@dataclass(frozen=True, kw_only=True, slots=True)
class Finalist:
    """One configuration, trained again."""

    record: TrialRecord
    """Its trial in the search."""
    values: tuple[float, ...]
    """Dev metric of each fresh seed's best epoch."""
    mean: float
    sd: float
    """Over its own seeds; NaN with one seed."""
    interval: Interval | None
    """Of the mean over seeds, on this dev set; None if no configuration has two seeds."""
    tied: bool
    """Whether its seeds leave open that it is the best of the finalists."""

    @property
    def search_value(self) -> float:
        assert self.record.value is not None
        return self.record.value


@dataclass(frozen=True, kw_only=True, slots=True)
class Finals:
    """All finalists, in their final order."""

    finalists: tuple[Finalist, ...]
    """Best mean first; never empty."""
    seed_sd: float | None
    """Standard deviation of the dev metric over seeds, pooled over the finalists."""
    overstatement: float
    """By how much the search's best dev metric exceeds the mean of fresh trainings of the same configuration."""
    overstatement_interval: Interval | None

    @property
    def winner(self) -> Finalist:
        """The smallest network among those whose mean lies within one standard error of the best mean."""
        best = self.finalists[0]
        near = [f for f in self.finalists if abs(f.mean - best.mean) <= self._error_of_difference(f, best)]
        return min(near, key=lambda f: (f.record.num_parameters, f.record.number))

    def _error_of_difference(self, a: Finalist, b: Finalist) -> float:
        """Standard error of the difference of their means; they may have different numbers of seeds."""
        return 0.0 if self.seed_sd is None else self.seed_sd * math.sqrt(1 / len(a.values) + 1 / len(b.values))


def finals(study: StudyData) -> Finals | None:
    """Summarise the finalists; None before there is one with a result."""
    trials = {r.number: r for r in study.records}
    values: dict[int, list[float]] = {}
    for repeat in study.finalists:
        original = repeat.facts.get("repeat_of")
        if original in trials and repeat.value is not None and math.isfinite(repeat.value):
            values.setdefault(original, []).append(repeat.value)
    values = {t: v for t, v in values.items() if trials[t].value is not None}
    if not values:
        return None
    sign = 1.0 if study.direction is Direction.MAXIMIZE else -1.0
    sd, freedom = _pooled_sd(list(values.values()))
    best = max(values.values(), key=lambda v: sign * float(np.mean(v)))
    finalists = [
        _finalist(trials[t], v, sd=sd, freedom=freedom, best=best, rivals=len(values)) for t, v in values.items()
    ]
    finalists.sort(key=lambda f: (-sign * f.mean, f.record.num_parameters))
    first = min(finalists, key=lambda f: (-sign * f.search_value, f.record.num_parameters, f.record.number))
    overstated = sign * (first.search_value - first.mean)
    half = None if sd is None else half_width_of_mean(sd, len(first.values), freedom)
    return Finals(
        finalists=tuple(finalists),
        seed_sd=sd,
        overstatement=overstated,
        overstatement_interval=None if half is None else Interval(overstated - half, overstated + half),
    )


def half_width_of_mean(sd: float, count: int, freedom: int) -> float:
    """Half the width of the interval of a mean over `count` seeds."""
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * sd / math.sqrt(count)


def _pooled_sd(groups: list[list[float]]) -> tuple[float | None, int]:
    freedom = sum(len(v) - 1 for v in groups)
    if freedom == 0:
        return None, 0
    squares = sum(float(((np.array(v) - np.mean(v)) ** 2).sum()) for v in groups)
    return math.sqrt(squares / freedom), freedom


@cache
def _largest_range(means: int, freedom: int) -> float:
    """Tukey's range: the distance that luck gives between so many means of equal configurations, in standard errors.

    Drawn, since SciPy takes half a second to integrate it.
    """
    rng = np.random.default_rng(0)
    drawn = np.ptp(rng.standard_normal((40_000, means)), axis=1)
    sd = np.sqrt(rng.chisquare(freedom, size=40_000) / freedom)
    return float(np.quantile(drawn / sd, CONFIDENCE))


def _finalist(
    record: TrialRecord, values: list[float], *, sd: float | None, freedom: int, best: list[float], rivals: int
) -> Finalist:
    mean = float(np.mean(values))
    half = None if sd is None else half_width_of_mean(sd, len(values), freedom)
    reach = 0.0
    if sd is not None and rivals > 1:
        # Tukey's range, as Kramer widened it for means over unequal numbers of seeds.
        reach = _largest_range(rivals, freedom) * sd * math.sqrt((1 / len(values) + 1 / len(best)) / 2)
    return Finalist(
        record=record,
        values=tuple(values),
        mean=mean,
        sd=float(np.std(values, ddof=1)) if len(values) > 1 else math.nan,
        interval=None if half is None else Interval(mean - half, mean + half),
        tied=abs(float(np.mean(best)) - mean) <= reach,
    )
