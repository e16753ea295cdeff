"""Which trial a study ends with, and why: every command and every report asks here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.ranking import best_trial, finite_value, rank_key, rank_trials
from tuner.records import Direction, TrialRecord
from tuner.report.words.numbers import metric_text
from tuner.store.study_data import StudyData


@dataclass(frozen=True, slots=True)
class Choice:
    """The best trial of a study."""

    record: TrialRecord
    why: str
    on_fresh_seeds: bool = False
    """Whether finalists decided it."""


def final_choice(study: StudyData) -> Choice | None:
    """The finalist chosen on fresh seeds, or before there are finalists the best finished trial; None without one."""
    trials = {record.number: record for record in study.records}
    values = fresh_values(study)
    if values:
        record = trials[chosen_finalist(values, trials, direction=study.direction)]
        mean = metric_text(mean_of(values[record.number]), metric=study.metric)
        why = f"chosen of {len(values)} finalists: mean dev {study.metric} {mean} on fresh seeds"
        return Choice(record, why, on_fresh_seeds=True)
    best = best_trial(study.records, direction=study.direction)
    return None if best is None else Choice(best, f"best dev {study.metric} of the finished trials")


def best_few(study: StudyData, count: int) -> tuple[TrialRecord, ...]:
    """The final choice, and the best of the other finished trials that keep the constraints as it does."""
    choice = final_choice(study)
    if choice is None:
        return ()
    own = choice.record
    others = (r for r in rank_trials(study.records, direction=study.direction) if r.number != own.number)
    return (own, *[r for r in others if r.violation <= own.violation][: count - 1])


def choice_so_far(study: StudyData) -> Choice | None:
    """The final choice as it would be now; before any trial has finished, the best of those under way."""
    choice = final_choice(study)
    if choice is not None:
        return choice
    valued = (record for record in study.records if finite_value(record) is not None)
    under_way = (record for record in valued if not record.state.final)
    best = min(under_way, key=rank_key(study.direction), default=None)
    why = f"best dev {study.metric} of the trials under way; none has finished yet"
    return None if best is None else Choice(best, why)


def fresh_values(study: StudyData) -> dict[int, list[float]]:
    """The dev metric on each fresh seed, by the number of the trial that was trained again; empty without finalists."""
    trials = {record.number: record for record in study.records}
    values: dict[int, list[float]] = {}
    for repeat in study.finalists:
        original = trials.get(repeat.facts.get("repeat_of", -1))
        value = finite_value(repeat)
        if original is not None and original.value is not None and value is not None:
            values.setdefault(original.number, []).append(value)
    return values


def chosen_finalist(
    values: Mapping[int, Sequence[float]], trials: Mapping[int, TrialRecord], *, direction: Direction
) -> int:
    """The smallest network among those whose mean lies within one standard error of the best mean, by its number.

    Raises:
        ValueError: there are none.
    """
    means = {number: mean_of(each) for number, each in eligible(values, trials).items()}
    best = min(means, key=lambda n: (-direction.sign * means[n], trials[n].num_parameters, n))
    sd, _ = pooled_sd(list(values.values()))

    def error(number: int) -> float:
        """Standard error of the difference to the best; the two may have different numbers of seeds."""
        return 0.0 if sd is None else sd * math.sqrt(1 / len(values[number]) + 1 / len(values[best]))

    near = [number for number in means if abs(means[number] - means[best]) <= error(number)]
    return min(near, key=lambda n: (trials[n].num_parameters, n))


def eligible(values: Mapping[int, Sequence[float]], trials: Mapping[int, TrialRecord]) -> dict[int, Sequence[float]]:
    """The finalists that may be chosen: those that keep all constraints, or where none does that break them least."""
    least = min(trials[number].violation for number in values)
    return {number: each for number, each in values.items() if trials[number].violation == least}


def pooled_sd(groups: Sequence[Sequence[float]]) -> tuple[float | None, int]:
    """Standard deviation within the groups and its degrees of freedom; None with one value in each."""
    freedom = sum(len(group) - 1 for group in groups)
    if freedom == 0:
        return None, 0
    apart = math.hypot(*(value - mean for group in groups for mean in [mean_of(group)] for value in group))
    return apart / math.sqrt(freedom), freedom  # as their squares, values beyond 1e154 would be no numbers


def mean_of(values: Sequence[float]) -> float:
    """The mean, of values whose sum no number can hold too."""
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)
