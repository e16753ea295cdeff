"""What re-training the best trials on fresh seeds says: their true order, and how lucky the search's best was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tuner.diagnose.intervals import CONFIDENCE, Interval, student_quantile
from tuner.ranking import rank_key
from tuner.records import TrialRecord
from tuner.report.certainty.choice import chosen_finalist, eligible, fresh_values, mean_of, pooled_sd
from tuner.store.study_data import StudyData


@dataclass(frozen=True, kw_only=True, slots=True)
class _Finalist:
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

    finalists: tuple[_Finalist, ...]
    """Best mean first, those that break a constraint behind the others; never empty."""
    seed_sd: float | None
    """Standard deviation of the dev metric over seeds, pooled over the finalists."""
    overstatement: float
    """By how much the search's best dev metric exceeds the mean of fresh trainings of the same configuration."""
    overstatement_interval: Interval | None
    winner: _Finalist
    """The study's final choice: see `tuner.report.certainty.choice`."""


def finals(study: StudyData) -> Finals | None:
    """Summarise the finalists; None before there is one with a result."""
    trials = {r.number: r for r in study.records}
    values = fresh_values(study)
    if not values:
        return None
    sign, rivals = study.direction.sign, eligible(values, trials)
    sd, freedom = pooled_sd(list(values.values()))
    best = max(rivals.values(), key=lambda v: sign * mean_of(v))
    finalists = [
        _finalist(trials[t], v, sd=sd, freedom=freedom, best=best if t in rivals else None, rivals=len(rivals))
        for t, v in values.items()
    ]
    chosen = chosen_finalist(values, trials, direction=study.direction)
    finalists.sort(key=lambda f: (f.record.violation, -sign * f.mean, f.record.num_parameters))
    in_search = rank_key(study.direction)
    first = min(finalists, key=lambda f: in_search(f.record))
    overstated = sign * (first.search_value - first.mean)
    half = None if sd is None else _half_width_of_mean(sd, len(first.values), freedom)
    return Finals(
        finalists=tuple(finalists),
        seed_sd=sd,
        overstatement=overstated,
        overstatement_interval=None if half is None else Interval(overstated - half, overstated + half),
        winner=next(f for f in finalists if f.record.number == chosen),
    )


def _half_width_of_mean(sd: float, count: int, freedom: int) -> float:
    """Half the width of the interval of a mean over `count` seeds."""
    return student_quantile(freedom) * sd / math.sqrt(count)


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
    record: TrialRecord,
    values: list[float],
    *,
    sd: float | None,
    freedom: int,
    best: Sequence[float] | None,
    rivals: int,
) -> _Finalist:
    """One finalist; `best` are the values of the one with the best mean, if it may be chosen as that may."""
    mean, (own, _) = mean_of(values), pooled_sd([values])
    half = None if sd is None else _half_width_of_mean(sd, len(values), freedom)
    reach = 0.0
    if sd is not None and rivals > 1 and best is not None:
        # Tukey's range, as Kramer widened it for means over unequal numbers of seeds.
        reach = _largest_range(rivals, freedom) * sd * math.sqrt((1 / len(values) + 1 / len(best)) / 2)
    return _Finalist(
        record=record,
        values=tuple(values),
        mean=mean,
        sd=math.nan if own is None else own,
        interval=None if half is None else Interval(mean - half, mean + half),
        tied=best is not None and abs(mean_of(best) - mean) <= reach,
    )
