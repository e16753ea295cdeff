"""Several things to be good at: what each is called, which way is better, and what a constraint asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.records import Direction, TrialRecord
from tuner.spec.known.metrics import COSTS, known_direction

if TYPE_CHECKING:
    from tuner.spec.model import ConstraintSpec, SweepSpec


@dataclass(frozen=True, slots=True)
class Objective:
    """A measure that trials are compared by."""

    name: str
    direction: Direction

    @property
    def is_cost(self) -> bool:
        return self.name in COSTS


def direction_of(metric: str) -> Direction:
    """Which way a metric or cost is better."""
    return known_direction(metric) or Direction.MAXIMIZE


def further_objectives(spec: SweepSpec) -> tuple[Objective, ...]:
    """The objectives after the first."""
    return tuple(Objective(o.metric, direction_of(o.metric)) for o in spec.objective.others)


def measured_names(spec: SweepSpec) -> tuple[str, ...]:
    """What is measured of each trial beside its metric: further objectives, and what constraints bound."""
    names = dict.fromkeys((*(o.metric for o in spec.objective.others), *(c.metric for c in spec.constraints)))
    return tuple(names)


def violation(constraints: Sequence[ConstraintSpec], values: Mapping[str, float]) -> float:
    """By how much values break their constraints, in shares of the bounds, summed; 0 if they keep all."""
    total = 0.0
    for constraint in constraints:
        value = values[constraint.metric]
        for bound, excess in ((constraint.max, 1.0), (constraint.min, -1.0)):
            if bound is not None:
                total += max(0.0, excess * (value - bound)) / max(abs(bound), 1e-12)
    return total


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is no worse than `b` in anything and better in something; smaller is better."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def losses_of(record: TrialRecord, *, direction: Direction, others: Sequence[Objective]) -> tuple[float, ...] | None:
    """A trial's objectives turned so that smaller is better, the first one first; None where one is not known."""
    if record.value is None or any(o.name not in record.objectives for o in others):
        return None
    signed = [(record.value, direction), *((record.objectives[o.name], o.direction) for o in others)]
    losses = tuple(-way.sign * value for value, way in signed)
    return None if any(loss != loss for loss in losses) else losses


def pareto_front(
    records: Sequence[TrialRecord], *, direction: Direction, others: Sequence[Objective]
) -> list[TrialRecord]:
    """The trials that keep all constraints and that no other such trial dominates, in the order given."""
    known = [
        (record, losses)
        for record in records
        if record.violation == 0 and (losses := losses_of(record, direction=direction, others=others)) is not None
    ]
    return [record for record, losses in known if not any(dominates(other, losses) for _, other in known)]
