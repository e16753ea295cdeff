"""The learning curve: the winner's dev metric by the number of examples that it was trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import numpy as np

from tuner.diagnose.intervals import Interval
from tuner.diagnose.more_data import MoreData, mean_interval, more_data
from tuner.paths import StudyPaths
from tuner.ranking import finite_value
from tuner.records import PART_METRIC, Json, Part, TrialRecord, TrialState
from tuner.report.certainty.dev_scores import DevScores, load_dev_scores
from tuner.report.certainty.statistics import attainable
from tuner.report.facts import data_count
from tuner.spec.known.metrics import METRICS
from tuner.store.study_data import StudyData


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """The networks that were trained on parts of one size."""

    share: float
    examples: int
    values: tuple[float, ...]
    """The dev metric of each seed."""
    interval: Interval | None
    """Of their mean; None with one seed."""
    train: float | None
    """Their mean metric on the examples that they were trained on; None where that is not known."""

    @property
    def mean(self) -> float:
        return fmean(self.values)


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurve:
    """What trainings on parts of the training examples have shown."""

    trial: int
    """Whose configuration was trained."""
    points: tuple[Point, ...]
    """From the fewest examples to the most; at least one."""
    gain: float | None
    """By how much the dev metric is better at the last point than at the one before, on the seeds that have both."""
    gain_interval: Interval | None
    answer: MoreData
    dev_set_is_the_limit: bool
    """Whether the gain is unsure by the size of the dev set more than by seeds."""
    num_failed: int

    def to_json(self) -> dict[str, Json]:
        """For a program."""
        points = [
            {
                "share": point.share, "examples": point.examples, "dev": point.mean, "interval": _ends(point.interval),
                "seeds": list(point.values), "train": point.train,
            }
            for point in self.points
        ]  # fmt: skip
        return {
            "trial": self.trial, "points": points, "gain_of_last": self.gain,
            "gain_interval": _ends(self.gain_interval), "more_data": self.answer.value, "failed": self.num_failed,
        }  # fmt: skip


def _ends(interval: Interval | None) -> Json:
    return None if interval is None else [interval.low, interval.high]


def learning_curve(study: StudyData, paths: StudyPaths | None, *, best: TrialRecord | None) -> LearningCurve | None:
    """That of the final choice, or where it has none that of the trial of the latest; None before there is any."""
    by_trial: dict[int, list[TrialRecord]] = {}
    for record in study.on_parts:
        if record.part is not None and record.state.final:
            by_trial.setdefault(int(record.facts.get("repeat_of", -1)), []).append(record)
    trial = best.number if best is not None and best.number in by_trial else next(reversed(by_trial), None)
    num_train = data_count(study, "num_train")
    if trial is None or num_train is None:
        return None
    trained = {r.part: r for r in by_trial[trial] if r.state is TrialState.COMPLETE and finite_value(r) is not None}
    if not trained:
        return None
    scores = _scores(study, paths, list(trained.values()))
    shares = sorted({part.share for part in trained if part is not None})
    values = {share: _of_share(trained, share) for share in shares}
    groups = [[_value(r) for r in of.values()] for of in values.values()]
    points = tuple(
        _point(study, share, values[share], groups=groups, scores=scores, num_train=num_train) for share in shares
    )
    gain, interval, dev_share = _last_gain(study, list(values.values()), scores)
    return LearningCurve(
        trial=trial,
        points=points,
        gain=gain,
        gain_interval=interval,
        answer=_answer(study, interval, points[-1]),
        dev_set_is_the_limit=dev_share > 0.5,
        num_failed=sum(r.state is not TrialState.COMPLETE for r in by_trial[trial]),
    )


def _answer(study: StudyData, gain: Interval | None, last: Point) -> MoreData:
    metric = METRICS.get(study.metric)
    if gain is None or metric is None:
        return MoreData.CANNOT_TELL
    return more_data(gain, error=max(0.0, metric.error_of(last.mean)))


def _scores(study: StudyData, paths: StudyPaths | None, trained: Sequence[TrialRecord]) -> DevScores | None:
    """The networks on the same resamples of the dev set, as far as their predictions are there."""
    if paths is None:
        return None
    return load_dev_scores(trained, metric=study.metric, paths=paths, place=paths.on_part)


def _of_share(trained: Mapping[Part | None, TrialRecord], share: float) -> dict[int, TrialRecord]:
    """The networks of one size, by the draw of their parts."""
    return {part.draw: record for part, record in trained.items() if part is not None and part.share == share}


def _value(record: TrialRecord) -> float:
    assert record.value is not None
    return record.value


def _dev_variance(scores: DevScores | None, signed: Sequence[tuple[TrialRecord, float]]) -> float:
    """Of a weighted sum of dev metrics over dev sets of this size; 0 where it is not known."""
    if scores is None or any(record.number not in scores.trials for record, _ in signed):
        return 0.0
    places = [scores.trials.index(record.number) for record, _ in signed]
    return float((scores.samples[:, places] @ np.array([weight for _, weight in signed])).var())


def _point(
    study: StudyData, share: float, own: Mapping[int, TrialRecord], *, groups: Sequence[Sequence[float]],
    scores: DevScores | None, num_train: int,
) -> Point:  # fmt: skip
    values, count = tuple(_value(record) for record in own.values()), len(own)
    variance = _dev_variance(scores, [(record, 1 / count) for record in own.values()])
    interval = mean_interval(fmean(values), dev_variance=variance, seeds=groups, count=count)
    on_train = [record.facts.get(PART_METRIC) for record in own.values()]
    known = [float(value) for value in on_train if isinstance(value, int | float) and math.isfinite(value)]
    return Point(
        share=share,
        examples=max(1, round(share * num_train)),
        values=values,
        interval=None if interval is None else attainable(study, interval),
        train=fmean(known) if known else None,
    )


def _last_gain(
    study: StudyData, by_share: Sequence[Mapping[int, TrialRecord]], scores: DevScores | None
) -> tuple[float | None, Interval | None, float]:
    """What the last examples have brought, its interval, and which share of its variance is the dev set's."""
    sign = study.direction.sign
    gains = [
        [sign * (_value(more[draw]) - _value(fewer[draw])) for draw in fewer.keys() & more.keys()]
        for fewer, more in pairwise(by_share)
    ]
    if not gains or not gains[-1]:
        return None, None, 0.0
    fewer, more, count = by_share[-2], by_share[-1], len(gains[-1])
    paired = fewer.keys() & more.keys()
    signed = [(of[draw], weight / count) for of, weight in ((more, 1.0), (fewer, -1.0)) for draw in paired]
    mean, variance = fmean(gains[-1]), _dev_variance(scores, signed)
    alone = mean_interval(mean, dev_variance=0.0, seeds=gains, count=count)
    interval = mean_interval(mean, dev_variance=variance, seeds=gains, count=count)
    if alone is None or interval is None:
        return mean, None, 0.0
    wide = interval.half_width
    return mean, interval, 0.0 if wide == 0 else 1 - (alone.half_width / wide) ** 2
