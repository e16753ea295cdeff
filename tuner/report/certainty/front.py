"""The Pareto front: trials that no other one beats in every objective, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.errors import TunerError, UsageError
from tuner.ranking import rank_trials
from tuner.records import TrialRecord
from tuner.report.certainty.dev_scores import DevScores
from tuner.report.certainty.ties import leads_by_luck, may_be_best
from tuner.report.certainty.weighted import Array
from tuner.report.facts import sweep_value
from tuner.spec.objectives import Objective, direction_of, losses_of, pareto_front
from tuner.store.study_data import StudyData


@dataclass(frozen=True, kw_only=True, slots=True)
class _FrontMember:
    """A trial that no other trial dominates."""

    record: TrialRecord
    lead: float | None
    """Of its dev metric over the best of the members that are no worse in all else; None if there is none."""
    is_sure: bool | None
    """Whether that lead is more than the luck of the dev set; None if it is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Front:
    """What a study of several objectives ends with."""

    objectives: tuple[Objective, ...]
    """Those after the metric."""
    members: tuple[_FrontMember, ...]
    """Best dev metric first; never empty."""
    may_belong: tuple[TrialRecord, ...]
    """Trials off the front that the noise of the dev metric could have pushed off it."""

    @property
    def numbers(self) -> frozenset[int]:
        return frozenset(member.record.number for member in self.members)


def study_objectives(study: StudyData) -> tuple[Objective, ...]:
    """The objectives of the sweep file after the first."""
    others = sweep_value(study, "objective", "others")
    if not isinstance(others, list):
        return ()
    names = [o.get("metric") for o in others if isinstance(o, Mapping)]
    return tuple(Objective(name, direction_of(name)) for name in names if isinstance(name, str))


def front_of(study: StudyData, ranked: Sequence[TrialRecord], scores: DevScores | None) -> Front | None:
    """The front of the finished trials; None for a single objective, or while no finished trial has all of them.

    The noise of the dev metric counts; further objectives are taken as they were measured.

    Args:
        study: Says the objectives.
        ranked: Finished trials, best first.
        scores: The dev metric of the best ones on other dev sets.
    """
    others = study_objectives(study)
    if not others:
        return None
    members = pareto_front(ranked, direction=study.direction, others=others)
    if not members:
        return None
    losses = {r.number: f for r in ranked if (f := losses_of(r, direction=study.direction, others=others)) is not None}
    sign = study.direction.sign
    return Front(
        objectives=others,
        members=tuple(_member(r, members, losses, scores, sign) for r in members),
        may_belong=tuple(_may_belong(ranked, members, losses, scores, sign)),
    )


def best_within(study: StudyData, *, objective: str, bounds: Mapping[str, float]) -> tuple[TrialRecord, str]:
    """The finished trial that is best by one objective among those that keep bounds, and why in words.

    Args:
        study: The study.
        objective: The metric, or anything that was measured beside it.
        bounds: By name: the most of what is better smaller, the least of what is better larger.

    Raises:
        UsageError: something that was not measured.
        TunerError: no finished trial keeps the bounds.
    """
    ranked = rank_trials(study.records, direction=study.direction)
    known = {study.metric, "parameters", *(name for r in ranked for name in r.objectives)}
    for name in (objective, *bounds):
        if name not in known:
            raise UsageError(f"{name} was not measured in {study.name}; known: {', '.join(sorted(known))}")
    kept = [r for r in ranked if all(_loss(study, r, n) <= _signed(study, n, bound) for n, bound in bounds.items())]
    said = " and ".join(f"{name} {value:g}" for name, value in bounds.items())
    if not kept:
        raise TunerError(f"no finished trial of {study.name} keeps within {said}" if said else "no trial has finished")
    why = f"best {objective} of the {len(kept)} finished trials"
    return min(kept, key=lambda r: _loss(study, r, objective)), f"{why} within {said}" if said else why


def _loss(study: StudyData, record: TrialRecord, name: str) -> float:
    """A measurement turned so that smaller is better; infinite if it is not known."""
    own = {study.metric: record.value, "parameters": record.num_parameters or None}
    value = record.objectives.get(name, own.get(name))
    return math.inf if value is None else _signed(study, name, value)


def _signed(study: StudyData, name: str, value: float) -> float:
    direction = study.direction if name == study.metric else direction_of(name)
    return -direction.sign * value


def _member(
    record: TrialRecord,
    members: Sequence[TrialRecord],
    losses: Mapping[int, tuple[float, ...]],
    scores: DevScores | None,
    sign: float,
) -> _FrontMember:
    own = losses[record.number]
    cheaper = [r for r in members if r is not record and _no_worse(losses[r.number][1:], own[1:])]
    if not cheaper:
        return _FrontMember(record=record, lead=None, is_sure=None)
    nearest = min(cheaper, key=lambda r: losses[r.number][0])
    lead = losses[nearest.number][0] - own[0]
    if scores is None or not {record.number, nearest.number} <= set(scores.trials):
        return _FrontMember(record=record, lead=lead, is_sure=None)
    own_column, nearest_column = (scores.trials.index(number) for number in (record.number, nearest.number))
    values, luck = _centred(scores, sign)
    return _FrontMember(record=record, lead=lead, is_sure=not leads_by_luck(own_column, nearest_column, values, luck))


def _may_belong(
    ranked: Sequence[TrialRecord],
    members: Sequence[TrialRecord],
    losses: Mapping[int, tuple[float, ...]],
    scores: DevScores | None,
    sign: float,
) -> list[TrialRecord]:
    """Trials of which none that is no worse in all else has a lead beyond what luck gives among those."""
    if scores is None:
        return []
    on_front = {r.number for r in members}
    column = {number: i for i, number in enumerate(scores.trials) if number in losses}
    values, luck = _centred(scores, sign)
    found = []
    for record in ranked:
        if record.number in on_front or record.number not in column or record.violation > 0:
            continue
        own = losses[record.number]
        rivals = [i for number, i in column.items() if _no_worse(losses[number][1:], own[1:])]
        place = rivals.index(column[record.number])
        if may_be_best(place, values[np.array(rivals)], luck[:, rivals]):
            found.append(record)
    return found


def _centred(scores: DevScores, sign: float) -> tuple[Array, Array]:
    """Values, larger is better, and the luck of their resamples."""
    samples = sign * scores.samples
    return sign * scores.values, samples - samples.mean(axis=0)


def _no_worse(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x <= y for x, y in zip(a, b, strict=True))
