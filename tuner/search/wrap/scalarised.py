"""Several objectives, or constraints, for strategies that know one: trials as they look under one trade-off at a time.

For each step a trade-off is drawn (weights of the objectives, uniform on the simplex), and the strategy sees each trial
with the augmented Tchebycheff scalarisation of its objectives as its value (ParEGO, Knowles 2006,
doi 10.1109/TEVC.2005.851274). Over many steps the trade-offs cover the Pareto front, concave parts too. Trials that
break a constraint look worse than all that keep it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from tuner.ranking import usable_value
from tuner.records import Direction, EpochResult, FailureReason, TrialRecord, TrialState
from tuner.search.cube import Array
from tuner.search.seeding import generator
from tuner.search.strategy import Decision, Strategy
from tuner.spec.objectives import Objective

_PURPOSE = 11
_AUGMENTATION = 0.05
"""Share of the weighted sum: without it points that are dominated in one objective alone would look as good."""
_MOST_VIOLATION = 10.0
"""In shares of the bounds: beyond, one is as bad as another."""
_LAST_LOOKS = 8
"""So many trade-offs must find nothing left to do before the search ends."""


class ScalarisedStrategy:
    """Implements `Strategy`: asks one made anew for each step, which sees single values."""

    def __init__(
        self, make: Callable[[], Strategy], *, direction: Direction, others: Sequence[Objective], seed: int
    ) -> None:
        """
        Args:
            make: The strategy; its decisions follow from the records alone.
            direction: Of the first objective, a dev metric.
            others: The further objectives; none where there are only constraints.
            seed: The search seed.
        """
        self._make = make
        self._direction = direction
        self._others = tuple(others)
        self._seed = seed
        self._lines: dict[str, None] = {}
        self._said: set[str] = set()

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        """See `Strategy.decide`."""
        is_last = bool(self._others) and not any(r.state is TrialState.RUNNING for r in records)
        looks = _LAST_LOOKS if is_last else 1
        decisions: list[Decision] = []
        for look in range(looks):
            strategy = self._make()
            decisions = strategy.decide(self._seen(records, look), room)
            self._lines |= dict.fromkeys(line for line in strategy.explain() if line not in self._said)
            if decisions:
                break
        return decisions

    def explain(self) -> tuple[str, ...]:
        """See `Strategy.explain`."""
        lines, self._lines = tuple(self._lines), {}
        self._said |= set(lines)
        return lines

    def _seen(self, records: Sequence[TrialRecord], look: int) -> list[TrialRecord]:
        """The records with single values under the trade-off of this moment."""
        moment = sum(len(r.rungs) for r in records)
        weights = generator(self._seed, len(records), moment, look, _PURPOSE).dirichlet(np.ones(1 + len(self._others)))
        return scalarised(records, weights, direction=self._direction, others=self._others)


def scalarised(
    records: Sequence[TrialRecord], weights: Array, *, direction: Direction, others: Sequence[Objective]
) -> list[TrialRecord]:
    """The records with one value each, in about the units of the first objective.

    Args:
        records: All trials.
        weights: Of the objectives, sum 1, the first one first.
        direction: Of the first objective.
        others: The further objectives.
    """
    values = {r.number: value for r in records if (value := usable_value(r)) is not None}
    sign = direction.sign
    if not values:
        return [_as_measured(r, -sign * min(r.violation, _MOST_VIOLATION)) if _is_infeasible(r) else r for r in records]
    gains = sign * np.array(list(values.values()))
    best = float(gains.max())
    scale = best - float(np.median(gains)) or 1.0
    costs = _relative_costs([r for r in records if r.number in values], others)

    def traded(value: float, *, of_others: Array) -> float:
        weighted = weights * np.array([(best - sign * value) / scale, *of_others])
        return sign * (best - scale * float(weighted.max() + _AUGMENTATION * weighted.sum()))

    def penalised(_: float, *, violation: float) -> float:
        return sign * (floor - scale * min(violation, _MOST_VIOLATION))

    seen = list(records)
    if others:
        seen = [_with_values(r, partial(traded, of_others=costs[r.number])) if r.number in costs else r for r in seen]
    kept = [sign * r.value for r in seen if r.number in values and r.violation == 0 and r.value is not None]
    floor = min(kept, default=best) - 0.5 * scale
    seen = [_as_measured(r, penalised(0.0, violation=r.violation)) if _is_infeasible(r) else r for r in seen]
    return [
        _with_values(r, partial(penalised, violation=r.violation)) if r.violation and r.number in values else r
        for r in seen
    ]


def _is_infeasible(record: TrialRecord) -> bool:
    return record.state is TrialState.FAILED and record.reason.startswith(FailureReason.INFEASIBLE)


def _as_measured(record: TrialRecord, value: float) -> TrialRecord:
    """A trial that was not trained, as one that was given up at its first rung with this value."""
    unknown = math.nan
    result = EpochResult(
        epoch=record.to_epoch, train_loss=unknown, dev_loss=unknown, train_metric=value, dev_metric=value,
        learning_rate=unknown, seconds=0.0,
    )  # fmt: skip
    return replace(record, state=TrialState.PRUNED, best=result, last=result, rungs=((record.to_epoch, value),))


def _relative_costs(records: Sequence[TrialRecord], others: Sequence[Objective]) -> dict[int, Array]:
    """The further objectives of each trial, 0 for the best seen to 1 for the worst; what is not known counts as 1."""
    table = np.full((len(records), len(others)), np.nan)
    for column, objective in enumerate(others):
        sign = -objective.direction.sign
        values = np.array([r.objectives.get(objective.name, np.nan) for r in records])
        # Costs span orders of magnitude: what counts is by what factor a network is smaller.
        values = np.log(np.maximum(values, 1e-12)) if objective.is_cost else sign * values
        if np.isfinite(values).any():
            low, high = np.nanmin(values), np.nanmax(values)
            table[:, column] = (values - low) / (high - low) if high > low else 0.0 * values
    return dict(zip([r.number for r in records], np.where(np.isnan(table), 1.0, table), strict=True))


def _with_values(record: TrialRecord, value_of: Callable[[float], float]) -> TrialRecord:
    """The record with other dev metrics; the gap to the training metric stays."""

    def moved(result: EpochResult | None) -> EpochResult | None:
        if result is None:
            return None
        value = value_of(result.dev_metric)
        train = result.train_metric + value - result.dev_metric
        return replace(result, dev_metric=value, train_metric=train)

    rungs = tuple((epoch, value_of(value)) for epoch, value in record.rungs)
    return replace(record, best=moved(record.best), last=moved(record.last), rungs=rungs)
