"""The opening pass of the priority strategy: the tiers in order, at the lowest rung, nothing frozen afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tuner.records import Direction, Params, TrialRecord, TrialState
from tuner.search.cube import Cube, Mask
from tuner.search.observe import best_of, in_state, rank_for_search
from tuner.search.portfolio import known_columns, learned_points
from tuner.search.seeding import derived_seed
from tuner.search.sobol import sobol
from tuner.search.strategy import Advance, Start
from tuner.spec.space import ARCHITECTURE_TIER, REGULARISATION_TIER, tier_label
from tuner.trials import OrderKey, trials_of

Columns = NDArray[np.intp]

POINTS = {1: 4, 2: 3, 3: 3, REGULARISATION_TIER: 3, ARCHITECTURE_TIER: 3}
"""Trials of each tier's pass. Of so few points an even spread is better than a model's choice; all eleven of the first
three tiers, with the default, cost about 1.3 full trainings."""
_SHARE_OF_TRIALS = 0.5
"""A short search opens with fewer points, at most so large a part of its trials."""
_SENT_ON = (3, 1)
"""How many of the best go on to the second rung, and then to the full training."""
_LEARNED_SENT_ON = (5, 3)
"""The same where there are learned configurations: each is good somewhere, and where shows late. On LCBench regret at
5, 10, 20 and 40 full trainings was .160, .081, .039, .020; with all eight and then three .172, .095, .044 (not measured
at 40), with four and then two .156, .088, .052, .029 (`benchmarks/search_quality.py --portfolio`)."""

_LEADING = 4
"""So many of the learned configurations lead cohorts, where trials start by cohorts."""
_TELLING_SHARE = 0.5
"""Of the opening, so much must be measured before more is started: to wait for all would leave workers idle for the
slowest."""

DEFAULT = "default"
PORTFOLIO = "portfolio"
_PORTFOLIO_TIER = 0
"""Before the first."""


@dataclass(frozen=True, kw_only=True)
class _Pass:
    """The points of one tier."""

    label: str
    columns: Columns
    first: int
    """Number of its first point within the opening."""
    count: int


class Wait(Enum):
    """The opening cannot go on before a running trial ends."""

    FOR_RUNNING = "running"


class Opening:
    """Says the next step of the opening from what has been done of it; None once it is over."""

    def __init__(
        self,
        cube: Cube,
        *,
        direction: Direction,
        rungs: tuple[int, ...],
        trials: int,
        seed: int,
        with_regularisation: bool,
        skip_passes: bool = False,
        learned: Sequence[Params] = (),
    ) -> None:
        """
        Args:
            cube: The space.
            direction: Of the dev metric.
            rungs: Where trials pause; the last is the full training.
            trials: Total number of trials of the study.
            seed: The search seed.
            with_regularisation: Whether the regularisation tier is opened with the others.
            skip_passes: Start the default only: the model knows enough from an earlier study.
            learned: Configurations of a portfolio. They are the first after the default, and take the place of the
                passes through the columns that they know.
        """
        self._cube = cube
        self._direction = direction
        self._first_rung = rungs[0]
        self._seed = seed
        apart = () if with_regularisation else (REGULARISATION_TIER, ARCHITECTURE_TIER)
        self._num_done = _num_outside(frozenset({"start", *map(tier_label, apart)}))
        known = known_columns(cube, learned) & ~np.isin(cube.tiers, apart)
        self._learned = learned_points(cube, learned, known=known)
        plan = _plan(cube, trials=trials, with_regularisation=with_regularisation, known=known, num=len(self._learned))
        self.passes = [] if skip_passes else plan
        sent_on = _LEARNED_SENT_ON if any(p.label == PORTFOLIO for p in self.passes) else _SENT_ON
        self._promotions = list(zip(reversed(rungs[1:]), reversed(sent_on), strict=False))[::-1]

    @property
    def size(self) -> int:
        """Trials of the opening."""
        return 1 + sum(p.count for p in self.passes)

    def next_start(self, records: Sequence[TrialRecord]) -> Start | None:
        """The next new trial, if the passes are not through; `search.start` and regularisation trials do not count."""
        done = trials_of(records).total(self._num_done)
        if done == 0:
            return self._start(self._cube.default, DEFAULT)
        for step in self.passes:
            if done < step.first + step.count:
                index = done - step.first
                if step.label == PORTFOLIO:
                    return self._start(self._learned[index], PORTFOLIO)
                return self.point(step.label, step.columns, index, step.count, records=records)
        return None

    def leading(self, records: Sequence[TrialRecord]) -> Start | None:
        """What leads the first cohorts: the default configuration, then the first of those learned; then None."""
        trials = trials_of(records)
        if trials.total(self._num_done) == 0:
            return self._start(self._cube.default, DEFAULT)
        done = trials.total(_is_learned)
        return self._start(self._learned[done], PORTFOLIO) if done < min(_LEADING, len(self._learned)) else None

    def columns_of(self, start: Start) -> NDArray[np.bool_] | None:
        """The columns of the pass that a trial belongs to, shape (columns,); None for the default configuration."""
        step = next((p for p in self.passes if p.label == start.tier), None)
        return None if step is None else np.isin(np.arange(self._cube.columns), step.columns)

    def is_telling(self, records: Sequence[TrialRecord]) -> bool:
        """Whether enough of the opening is measured to build on; always so once nothing runs.

        Where there is room for many trials at once, those beyond the opening would otherwise be drawn blindly.
        """
        trials = trials_of(records)
        if not in_state(trials, TrialState.RUNNING):
            return True
        return trials.total(_is_measured_at(self._first_rung)) >= _TELLING_SHARE * min(self.size, len(trials))

    def point(
        self,
        label: str,
        columns: Columns,
        index: int,
        count: int,
        *,
        records: Sequence[TrialRecord],
        held: Mapping[int, float] = MappingProxyType({}),
    ) -> Start:
        """A point of a tier: spread over the tier's columns, otherwise like the best trial so far.

        Regularisation starts lightly, half-way back to its defaults: at the first rungs a strong one looks worse
        than it ends.

        Args:
            label: Of the tier.
            columns: The tier's.
            index: Which point of its pass it is.
            count: How many there are.
            records: All trials.
            held: Unit coordinates that are given, by column.
        """
        best = best_of(records, self._direction)
        point = self._cube.default.copy() if best is None else self._cube.units(best.params)
        if label == tier_label(1):
            point = self._cube.default.copy()
        if len(columns) == 1:
            spread = np.array([(index + 0.5) / count])
        else:
            seed = derived_seed(self._seed, int(columns[0]))
            spread = sobol(index, 1, dimensions=len(columns), seed=seed)[0]
        if label == tier_label(REGULARISATION_TIER):
            light = (spread + self._cube.default[columns]) / 2
            spread = np.where(self._cube.unordered[columns], spread, light)
        point[columns] = spread
        for column, unit in held.items():
            point[column] = unit
        return self._start(self._cube.snap(point[None])[0], label)

    def next_advance(self, records: Sequence[TrialRecord]) -> Advance | Wait | None:
        """Once the passes are through: the best go on, so that the model learns what longer training brings."""
        trials = trials_of(records)
        for rung, sent_on in self._promotions:
            if trials.total(_is_sent_to(rung)) >= sent_on:
                continue
            if any(record.to_epoch < rung for record in in_state(trials, TrialState.RUNNING)):
                return Wait.FOR_RUNNING
            best = next(iter(trials.ordered(_best_paused_before(rung, self._direction))), None)
            if best is not None:
                return Advance(trial=best.number, to_epoch=rung)
        return None

    def _start(self, point: NDArray[np.float64], label: str) -> Start:
        return Start(params=self._cube.params(point), to_epoch=self._first_rung, tier=label)


@cache
def _num_outside(tiers: frozenset[str]) -> Callable[[TrialRecord], bool]:
    return lambda record: record.tier not in tiers


def _is_learned(record: TrialRecord) -> bool:
    return record.tier == PORTFOLIO


@cache
def _is_measured_at(rung: int) -> Callable[[TrialRecord], bool]:
    return lambda record: record.state.final or record.epochs >= rung


@cache
def _is_sent_to(rung: int) -> Callable[[TrialRecord], bool]:
    return lambda record: record.to_epoch >= rung


@cache
def _best_paused_before(rung: int, direction: Direction) -> OrderKey:
    rank = rank_for_search(direction)
    return lambda r: rank(r) if r.state is TrialState.PAUSED and r.epochs < rung else None


def _plan(cube: Cube, *, trials: int, with_regularisation: bool, known: Mask, num: int) -> list[_Pass]:
    """The passes of the opening: that of the portfolio's `num` points, and those of the tiers' other columns."""
    others = {int(tier): np.flatnonzero((cube.tiers == tier) & ~known) for tier in np.unique(cube.tiers)}
    columns = {tier: own for tier, own in others.items() if len(own)}
    late = {tier: columns.pop(tier) for tier in (REGULARISATION_TIER, ARCHITECTURE_TIER) if tier in columns}
    for tier, own in late.items() if with_regularisation else ():
        # Opened with the others, it is part of the last of them.
        last = max(columns, default=tier)
        key = last if last == 3 else tier
        columns[key] = np.concatenate([columns.get(key, own[:0]), own])
    counts = {tier: min(POINTS[tier], _num_others(cube, own)) for tier, own in columns.items()}
    if num:
        columns[_PORTFOLIO_TIER], counts[_PORTFOLIO_TIER] = np.flatnonzero(known), num
    affordable = _SHARE_OF_TRIALS * trials / max(1, sum(counts.values()))
    passes, first = [], 1
    for tier, of_tier in sorted(columns.items()):
        count = max(1, round(counts[tier] * min(1.0, affordable)))
        label = PORTFOLIO if tier == _PORTFOLIO_TIER else tier_label(tier)
        passes.append(_Pass(label=label, columns=of_tier, first=first, count=count))
        first += count
    return passes


def _num_others(cube: Cube, columns: Columns) -> float:
    """How many values these columns can have beside those of the trial that the pass starts from."""
    sizes = [cube.dimensions[j].num_values for j in columns]
    return math.prod(math.inf if size is None else size for size in sizes) - 1
