"""Two studies, or two trials, side by side: differences with intervals, at equal budgets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tuner.diagnose.intervals import Interval
from tuner.errors import UsageError
from tuner.records import Direction, TrialRecord, TrialState
from tuner.report.analysis import Analysis
from tuner.report.certainty.dev_scores import load_array, load_dev_scores, paired_half_width
from tuner.report.certainty.weighted import Array
from tuner.report.facts import data_count, sweep_value
from tuner.report.words.numbers import count_text, difference_text, duration_text, metric_text, value_text

_RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One of the two: a study, represented by its best trial, or a trial of it."""

    name: str
    analysis: Analysis
    record: TrialRecord
    whole_study: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the comparison, as text."""

    quantity: str
    a: str
    b: str
    difference: str = ""
    """Of b less a, with its interval where it has one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    rows: tuple[Row, ...]
    verdict: str
    warnings: tuple[str, ...] = ()
    """What makes the difference one of something else than the networks."""


def side(analysis: Analysis, *, trial: int | None) -> Side:
    """A study's best trial, or the trial of that number.

    Raises:
        UsageError: there is no such trial, or none to compare.
    """
    study = analysis.study
    if trial is None:
        best = analysis.best
        if best is None:
            raise UsageError(f"study {study.name} has no finished trial to compare yet")
        return Side(name=study.name, analysis=analysis, record=best, whole_study=True)
    found = next((r for r in study.records if r.number == trial), None)
    if found is None or found.value is None:
        raise UsageError(f"study {study.name} has no trial {trial} with a result")
    return Side(name=f"{study.name}:{trial}", analysis=analysis, record=found, whole_study=False)


def compare(a: Side, b: Side) -> Comparison:
    """Compare two sides.

    Raises:
        UsageError: they were not scored by the same metric.
    """
    of_a, of_b = a.analysis.study, b.analysis.study
    if (of_a.metric, of_a.direction) != (of_b.metric, of_b.direction):
        raise UsageError(f"{a.name} is scored by {of_a.metric} and {b.name} by {of_b.metric}; they cannot be compared")
    difference, interval, how = _difference(a, b)
    return Comparison(
        rows=tuple(_rows(a, b, difference, interval)),
        verdict=_verdict(a, b, difference, interval, how),
        warnings=tuple(_other_data(a, b)),
    )


def _other_data(a: Side, b: Side) -> Iterator[str]:
    """A warning where the two were trained on other examples, with what is known to differ."""
    facts = [one.analysis.study.facts.get("data") or {} for one in (a, b)]
    hashes = [data.get("sha256") for data in facts]
    if not all(hashes) or hashes[0] == hashes[1]:
        return
    old, new = (sweep_value(one.analysis.study, "data") or {} for one in (a, b))
    asked = [f"data.{key}: {old.get(key)} and {new.get(key)}" for key in old | new if old.get(key) != new.get(key)]
    counts = [(name, *(data.get(f"num_{name}") for data in facts)) for name in ("train", "dev")]
    found = [f"{of_a} and {of_b} {name} examples" for name, of_a, of_b in counts if of_a != of_b]
    why = "; ".join([*asked, *found]) or "other rows, or other values in them"
    yield (
        f"{a.name} and {b.name} are of different data ({why}): a difference of their scores is one of the data as much "
        "as of the networks"
    )


def _rows(a: Side, b: Side, difference: float, interval: Interval | None) -> Iterator[Row]:
    metric = a.analysis.study.metric
    yield Row("trial", str(a.record.number), str(b.record.number))
    values = [metric_text(s.record.value, metric=metric) for s in (a, b)]
    yield Row(f"dev {metric}", values[0], values[1], _signed(difference, interval, metric))
    if a.whole_study and b.whole_study:
        yield from _budget_rows(a, b, metric)
    for quantity, pair in (
        ("gap between train and dev", [difference_text(_gap(s), metric=metric) for s in (a, b)]),
        ("parameters", [count_text(s.record.num_parameters) if s.record.num_parameters else "–" for s in (a, b)]),
        ("best epoch", [str(s.record.best.epoch if s.record.best else "–") for s in (a, b)]),
        ("epochs", [str(s.record.epochs) for s in (a, b)]),
        ("training time", [duration_text(s.record.seconds) for s in (a, b)]),
    ):
        yield Row(quantity, pair[0], pair[1])
    for name in dict.fromkeys([*a.record.params, *b.record.params]):
        pair = [value_text(s.record.params.get(name)) for s in (a, b)]
        if pair[0] != pair[1]:
            yield Row(name, pair[0], pair[1])


def _budget_rows(a: Side, b: Side, metric: str) -> Iterator[Row]:
    """The studies at equal numbers of trials, and at equal numbers of epochs."""
    finished = [_finished_values(s) for s in (a, b)]
    count = min(map(len, finished))
    expected, interval = _expected_best(finished[0], finished[1], count, a.analysis.study.direction)
    texts = [metric_text(v, metric=metric) for v in expected]
    apart = _signed(expected[1] - expected[0], interval, metric)
    yield Row(f"expected best of {count} finished trials", texts[0], texts[1], apart)
    spent = [sum(r.epochs for r in s.analysis.study.records) for s in (a, b)]
    budget = min(spent)
    of_a, of_b = _best_within(a, budget), _best_within(b, budget)
    if of_a is not None and of_b is not None:
        texts = [metric_text(v, metric=metric) for v in (of_a, of_b)]
        apart = _signed(of_b - of_a, None, metric)
        yield Row(f"best after {budget} epochs", texts[0], texts[1], apart)
    yield Row("finished trials", str(len(finished[0])), str(len(finished[1])))
    yield Row("epochs of all trials", count_text(spent[0]), count_text(spent[1]))


def _difference(a: Side, b: Side) -> tuple[float, Interval | None, str]:
    """Of b's dev metric less a's, with its interval, and what that rests on."""
    assert a.record.value is not None
    assert b.record.value is not None
    difference = b.record.value - a.record.value
    samples = [_samples(s) for s in (a, b)]
    if samples[0] is not None and samples[1] is not None and _same_dev_set(a, b):
        return difference, _around(difference, samples[1] - samples[0], a), "on the same dev examples"
    intervals = [s.analysis.statistics.intervals.get(s.record.number) for s in (a, b)]
    if intervals[0] is None or intervals[1] is None:
        return difference, None, "the noise of their dev sets is not known"
    half = math.hypot(intervals[0].half_width, intervals[1].half_width)
    return difference, Interval(difference - half, difference + half), "as if on two different dev sets"


def _around(difference: float, samples: Array, one: Side) -> Interval:
    count = data_count(one.analysis.study, "num_dev")
    spread = float(samples.std())
    half = 1.96 * spread if count is None else paired_half_width(one.analysis.study.metric, spread, count)
    return Interval(difference - half, difference + half)


def _samples(one: Side) -> Array | None:
    """The trial's dev metric on resamples; equal dev sets give equal resamples."""
    paths = one.analysis.paths
    if paths is None:
        return None
    scores = load_dev_scores([one.record], metric=one.analysis.study.metric, paths=paths)
    return None if scores is None else np.asarray(scores.samples[:, 0])


def _same_dev_set(a: Side, b: Side) -> bool:
    targets = []
    for one in (a, b):
        assert one.analysis.paths is not None
        targets.append(load_array(one.analysis.paths.dev_targets))
    hashes = [(s.analysis.study.facts.get("data") or {}).get("sha256") for s in (a, b)]
    if targets[0] is None or targets[1] is None:
        return False
    return np.array_equal(targets[0], targets[1]) and hashes[0] == hashes[1]


def _finished_values(one: Side) -> Array:
    records = one.analysis.study.records
    values = [r.value for r in records if r.state is TrialState.COMPLETE and r.value is not None]
    return np.array([v for v in values if math.isfinite(v)], dtype=np.float64)


def _expected_best(a: Array, b: Array, count: int, direction: Direction) -> tuple[tuple[float, float], Interval]:
    """Mean best of `count` trials drawn from each study, and the interval of the difference, over draws with return."""
    best = np.max if direction is Direction.MAXIMIZE else np.min
    rng = np.random.default_rng(0)
    drawn = [best(rng.choice(values, size=(_RESAMPLES, count)), axis=1) for values in (a, b)]
    low, high = np.quantile(drawn[1] - drawn[0], [0.025, 0.975])
    return (float(drawn[0].mean()), float(drawn[1].mean())), Interval(float(low), float(high))


def _best_within(one: Side, epochs: int) -> float | None:
    """The best dev metric among the finished trials that fit into so many epochs, taken in order."""
    spent, reached = 0, None
    direction = one.analysis.study.direction
    for record in one.analysis.study.records:
        spent += record.epochs
        if spent > epochs:
            break
        if record.state is TrialState.COMPLETE and record.value is not None:
            reached = record.value if reached is None or direction.better(record.value, reached) else reached
    return reached


def _verdict(a: Side, b: Side, difference: float, interval: Interval | None, how: str) -> str:
    if interval is None:
        return f"Which is better is not known: {how}."
    if 0.0 in interval:
        return f"{a.name} and {b.name} cannot be told apart ({how})."
    ahead = b if (difference > 0) == (a.analysis.study.direction is Direction.MAXIMIZE) else a
    lucky = " A winner of a search owes part of its score to luck." if a.whole_study or b.whole_study else ""
    return f"{ahead.name} is better ({how}).{lucky}"


def _gap(one: Side) -> float:
    from tuner.report.tables.leaderboard import gap

    found = gap(one.record, direction=one.analysis.study.direction)
    return math.nan if found is None else found


def _signed(difference: float, interval: Interval | None, metric: str) -> str:
    said = f"{'+' if difference >= 0 else '-'}{difference_text(abs(difference), metric=metric)}"
    if interval is None:
        return said
    low, high = (difference_text(v, metric=metric).removesuffix(" points") for v in (interval.low, interval.high))
    return f"{said} ({low} to {high})"


def epochs_and_best(one: Side) -> tuple[Sequence[int], Sequence[float]]:
    """The study's course: epochs spent so far, and the best finished dev metric until then."""
    spent, reached = 0, math.nan
    direction = one.analysis.study.direction
    xs, ys = [], []
    for record in one.analysis.study.records:
        spent += record.epochs
        if record.state is TrialState.COMPLETE and record.value is not None:
            reached = record.value if math.isnan(reached) or direction.better(record.value, reached) else reached
        xs.append(spent)
        ys.append(reached)
    return xs, ys
