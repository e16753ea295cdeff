"""How much each hyperparameter matters, with an interval, and the figure that luck alone would give it.

The rank of each trial is explained by smooth curves, one for each hyperparameter on its own scale, taken up one after
the other: always the one that explains most of what is left, as long as it explains more than luck would. So what two
hyperparameters have in common (a search that narrows both) counts once. Trials are compared within their tier of the
search, since later tiers build on what earlier ones found. The noise floor comes from shuffling what is left (Freedman
and Lane 1983).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tuner.diagnose.intervals import Interval
from tuner.diagnose.scores import rank_scores
from tuner.records import Direction, ParamValue, TrialRecord
from tuner.spec.space import Dimension, Space

Array = NDArray[np.float64]

_NEGLIGIBLE = 0.05
"""A hyperparameter that explains less of the variation than this does not matter."""
FALSE_ALARM = 0.03
"""Share of studies of pure noise in which some hyperparameter seems to matter."""
_PERMUTATIONS = 1999
_FOLDS = 20
"""Parts of the trials left out in turn for the interval (a grouped jackknife)."""
_MOST_TRIALS = 1000
"""More trials than this are thinned out evenly."""
_NEW_PART = 0.1
"""Of a hyperparameter that has less than this of its own, nothing can be told."""
_SMALLEST_STAGE = 3
_FREEDOM = 5
"""Least trials beyond the number of coefficients."""


class Finding(StrEnum):
    """What can be said of a hyperparameter."""

    MATTERS = "matters"
    DOES_NOT_MATTER = "does not matter"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, kw_only=True, slots=True)
class Importance:
    """Of one hyperparameter."""

    name: str
    share: float
    """Share of the variation of the ranks that it alone explains, corrected for its number of coefficients."""
    interval: Interval
    floor: float
    """The share that luck exceeds, for any of the hyperparameters, in `FALSE_ALARM` of studies."""
    finding: Finding
    num_trials: int

    @property
    def text(self) -> str:
        match self.finding:
            case Finding.MATTERS:
                return (
                    f"matters: {self.share:.0%} of the variation ({self.interval.low:.0%} to {self.interval.high:.0%})"
                )
            case Finding.DOES_NOT_MATTER:
                return f"does not matter here: at most {max(self.interval.high, 0.01):.0%} of the variation"
            case _:
                return f"cannot tell from {self.num_trials} trials"


def importances(
    records: Sequence[TrialRecord], *, space: Space, direction: Direction, seed: int = 0
) -> tuple[Importance, ...]:
    """The importance of each searched hyperparameter, the largest first.

    Args:
        records: All trials of the study; pruned and diverged ones count by their rank.
        space: What was searched.
        direction: Of the dev metric.
        seed: Of the shuffles.
    """
    trials, ranks = rank_scores(records, direction=direction)
    if len(trials) > _MOST_TRIALS:
        thinned = np.linspace(0, len(trials) - 1, _MOST_TRIALS).astype(int)
        trials, ranks = [trials[i] for i in thinned], ranks[thinned]
    searched = [d for d in space if not d.fixed and len({t.params.get(d.name) for t in trials}) > 1]
    blocks = dict(zip((d.name for d in searched), _blocks(trials, searched), strict=True))
    widest = max((b.shape[1] for b in blocks.values()), default=0)
    stages = _stages(trials)
    if not blocks or len(trials) < stages.shape[1] + widest + _FREEDOM or np.ptp(ranks) == 0:
        return tuple(_unknown(d.name, len(trials)) for d in searched)
    return tuple(sorted(_taken_up(blocks, ranks, stages, seed=seed), key=lambda i: -i.share))


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    share: float
    floor: float


def _stages(trials: Sequence[TrialRecord]) -> Array:
    """A column for each part of the search, so that trials are compared with others of their own part only.

    A search by tiers fixes what it found and goes on: all that it fixed is the same in the later, better trials.
    """
    parts = [t.tier if t.tier not in ("default", "start") else "tier 1" for t in trials]
    large = [part for part in dict.fromkeys(parts) if parts.count(part) >= _SMALLEST_STAGE]
    columns = [[float(part == one) for part in parts] for one in large[1:]]
    return np.array([[1.0] * len(parts), *columns]).T


def _taken_up(blocks: Mapping[str, Array], ranks: Array, stages: Array, *, seed: int) -> Iterator[Importance]:
    """Each hyperparameter, judged beyond those that were taken up before it."""
    before = stages
    waiting = dict(blocks)
    while waiting:
        room = len(ranks) - before.shape[1] - _FREEDOM
        left = _Left.of(before, ranks, seed=seed)
        candidates = [
            _Candidate(name, *left.share_and_floor(block, rivals=len(waiting)))
            for name, block in waiting.items()
            if block.shape[1] <= room
        ]
        first = max(candidates, key=lambda c: c.share - c.floor, default=None)
        done = candidates if first is None or first.share <= first.floor else [first]
        for candidate in done:
            block = waiting.pop(candidate.name)
            yield _judged(candidate, before, block, ranks, seed=seed)
        if first is None or done is candidates:
            yield from (_unknown(name, len(ranks)) for name in waiting)
            return
        before = np.concatenate([before, blocks[first.name]], axis=1)


def _judged(candidate: _Candidate, before: Array, block: Array, ranks: Array, *, seed: int) -> Importance:
    if candidate.floor >= 1.0:
        return _unknown(candidate.name, len(ranks))
    interval = _jackknife(before, block, ranks, candidate.share, seed=seed)
    return Importance(
        name=candidate.name,
        share=max(0.0, candidate.share),
        interval=interval,
        floor=candidate.floor,
        finding=_finding(candidate.share, interval, candidate.floor),
        num_trials=len(ranks),
    )


def _finding(share: float, interval: Interval, floor: float) -> Finding:
    # Only where luck alone could not have hidden an effect worth knowing of.
    if max(interval.high, floor) < _NEGLIGIBLE:
        return Finding.DOES_NOT_MATTER
    return Finding.MATTERS if share > floor else Finding.CANNOT_TELL


def _unknown(name: str, num_trials: int) -> Importance:
    return Importance(
        name=name, share=0.0, interval=Interval(0.0, 1.0), floor=1.0, finding=Finding.CANNOT_TELL, num_trials=num_trials
    )


@dataclass(frozen=True, slots=True)
class _Left:
    """What the columns that were taken up leave of the ranks, and of their shuffles: the same for all that wait."""

    others: Array
    """Orthonormal, of the columns taken up."""
    left: Array
    total: float
    shuffled: Array
    """What is left, in random orders, shape (trials, permutations)."""
    sizes: Array
    """Sum of squares of what the columns leave of each shuffle."""

    @classmethod
    def of(cls, before: Array, ranks: Array, *, seed: int) -> Self:
        others = _basis(before)
        left = ranks - others @ (others.T @ ranks)
        shuffled = left[_orders(len(left), seed)]
        size = (left**2).sum()
        sizes = np.maximum(size - ((others.T @ shuffled) ** 2).sum(axis=0), 1e-12 * size + np.finfo(np.float64).tiny)
        return cls(others, left, float(((ranks - ranks.mean()) ** 2).sum()), shuffled, sizes)

    def share_and_floor(self, block: Array, *, rivals: int) -> tuple[float, float]:
        """The share that a block of columns explains beyond those taken up, and its noise floor."""
        own, free = _beyond(self.others, block)
        if _new_part(self.others, block) < _NEW_PART:
            return 0.0, 1.0
        # Ranked by the part of what was left, since shuffling changes how much that is.
        luck = np.sort(((own.T @ self.shuffled) ** 2).sum(axis=0) / self.sizes)
        place = int(np.ceil((1 - FALSE_ALARM / rivals) * (_PERMUTATIONS + 1))) - 1
        floor = _share(luck[min(place, len(luck) - 1)], self.left, own.shape[1], free, self.total)
        return _explained_share(own, self.left, free, self.total), max(0.0, floor)


@lru_cache(maxsize=1)
def _orders(count: int, seed: int) -> NDArray[np.intp]:
    """So many positions shuffled, again and again; shape (count, permutations). The same for each hyperparameter."""
    return np.random.default_rng(seed).permuted(np.tile(np.arange(count)[:, None], _PERMUTATIONS), axis=0)


def _new_part(others: Array, block: Array) -> float:
    """How much of a block is not already in the columns before it: nothing, where two parameters move as one."""
    beyond_mean = float(((block - block.mean(axis=0)) ** 2).sum())
    beyond_others = float(((block - others @ (others.T @ block)) ** 2).sum())
    return beyond_others / beyond_mean if beyond_mean > 0 else 0.0


def _explained_share(own: Array, left: Array, free: int, total: float) -> float:
    remaining = float((left**2).sum())
    part = float(((own.T @ left) ** 2).sum()) / remaining if remaining > 0 else 0.0
    return _share(part, left, own.shape[1], free, total)


def _share(part: float, left: Array, coefficients: int, free: int, total: float) -> float:
    """A part of what the others left, as a share of all variation, less what so many coefficients explain by chance."""
    by_chance = (1 - part) * coefficients / free
    return float((part - by_chance) * (left**2).sum() / total)


def _beyond(others: Array, block: Array) -> tuple[Array, int]:
    """An orthonormal basis of what a block adds to the columns of another, and the degrees of freedom left."""
    own = _basis(block - others @ (others.T @ block))
    return own, max(1, len(block) - others.shape[1] - own.shape[1])


def _basis(columns: Array) -> Array:
    left, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    kept: Array = left[:, sizes > 1e-6 * max(1.0, float(sizes.max(initial=0.0)))]
    return kept


def _jackknife(before: Array, block: Array, ranks: Array, share: float, *, seed: int) -> Interval:
    """Normal interval with the grouped jackknife's standard error, within [0, 1]."""
    count = len(ranks)
    folds = np.random.default_rng(seed).permutation(count) % min(_FOLDS, count)
    without = []
    for fold in range(folds.max() + 1):
        kept = folds != fold
        others = _basis(before[kept])
        own, free = _beyond(others, block[kept])
        left = ranks[kept] - others @ (others.T @ ranks[kept])
        total = ((ranks[kept] - ranks[kept].mean()) ** 2).sum()
        without.append(_explained_share(own, left, free, max(float(total), 1e-12)))
    spread = np.array(without)
    error = float(np.sqrt((len(spread) - 1) / len(spread) * ((spread - spread.mean()) ** 2).sum()))
    return Interval(min(1.0, max(0.0, share - 1.96 * error)), min(1.0, max(0.0, share + 1.96 * error)))


def _blocks(trials: Sequence[TrialRecord], searched: Sequence[Dimension]) -> list[Array]:
    """For each dimension the columns of its curve, shape (trials, coefficients); zero where it is not active."""
    coefficients = sum(3 if d.ordered else min(len(d.choices), 8) for d in searched)
    degree = 3 if len(trials) >= 6 * coefficients else 2
    return [_block([t.params.get(d.name) for t in trials], d, degree) for d in searched]


def _block(values: Sequence[ParamValue | None], dimension: Dimension, degree: int) -> Array:
    if dimension.ordered:
        places = np.array(dimension.units(values), dtype=np.float64)
        levels = len(np.unique(places[~np.isnan(places)]))
        columns = np.polynomial.legendre.legvander(2 * places - 1, min(degree, levels - 1))[:, 1:]
        powers = np.asarray(columns, dtype=np.float64)
    else:
        seen = sorted({repr(v) for v in values if v is not None})[1:]
        powers = np.array([[float(repr(v) == s) if v is not None else np.nan for s in seen] for v in values])
    active = ~np.isnan(powers).any(axis=1)
    centred = np.zeros_like(powers)
    centred[active] = powers[active] - powers[active].mean(axis=0)
    return centred
