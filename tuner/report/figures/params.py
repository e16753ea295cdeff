"""Figures of the hyperparameters: each against the dev metric, all together, and how much each matters."""

from __future__ import annotations

import math

from tuner.diagnose.importance import Finding, Importance
from tuner.ranking import diverged
from tuner.records import Direction, TrialRecord, TrialState
from tuner.report.analysis import Analysis
from tuner.report.figures.axes import metric_axis, places, row_axis, rows_of, unit_axis, unit_ticks
from tuner.report.figures.chart import (
    Axis,
    Bars,
    Chart,
    Mark,
    Parallel,
    ParallelRow,
    Points,
    Segments,
    Trials,
)
from tuner.report.figures.columns import VALUE, at, shown_dimensions
from tuner.report.figures.palette import BLUE, GREY, INK, ORANGE, RED, short
from tuner.report.words.numbers import metric_text
from tuner.spec.space import Dimension

_BUCKETS = 6
_MOST_ROWS = 12
"""Of parallel coordinates."""


def against_metric(analysis: Analysis, dimension: Dimension) -> Chart | None:
    """One hyperparameter against the dev metric, the best of each bucket over all else, and what diverged."""
    study = analysis.study
    measured = [r for r in study.records if r.value is not None and math.isfinite(r.value)]
    x = places(dimension, [r.params.get(dimension.name) for r in measured])
    shown = [(record, place) for record, place in zip(measured, x.tolist(), strict=True) if not math.isnan(place)]
    if len(shown) < 2:
        return None
    y = metric_axis(
        [r.value for r, _ in shown if r.value is not None], direction=study.direction, label=f"dev {study.metric}"
    )
    marks: list[Mark] = [Trials(x=at(dimension.name), y=VALUE), *_best_of_buckets(analysis, dimension, shown)]
    bad = [r for r in study.records if diverged(r) and dimension.name in r.params]
    if bad:
        worst = y.limits[0] if study.direction is Direction.MAXIMIZE else y.limits[1]
        where = places(dimension, [r.params[dimension.name] for r in bad]).tolist()
        numbers, tips = [r.number for r in bad], ["diverged"] * len(bad)
        marks.append(
            Points(x=where, y=[worst] * len(bad), colour=RED, shape="x", label="diverged", trials=numbers, tips=tips)
        )
    return Chart(x=unit_axis(dimension), y=y, marks=tuple(marks), height=2.6)


def _best_of_buckets(
    analysis: Analysis, dimension: Dimension, shown: list[tuple[TrialRecord, float]]
) -> tuple[Segments, Segments]:
    """The isolation plot: the best finished trial of each bucket, over all other hyperparameters, with its interval."""
    sign, metric = analysis.study.direction.sign, analysis.study.metric
    buckets = len(dimension.choices) if dimension.kind == "categorical" else _BUCKETS
    best: dict[int, TrialRecord] = {}
    for record, place in shown:
        bucket = min(int(place * buckets), buckets - 1)
        if record.state is not TrialState.COMPLETE:
            continue
        if bucket not in best or sign * (record.value or 0.0) > sign * (best[bucket].value or 0.0):
            best[bucket] = record
    found = sorted(best.items())
    values = [r.value for _, r in found if r.value is not None]
    left, right = [b / buckets + 0.01 for b, _ in found], [(b + 1) / buckets - 0.01 for b, _ in found]
    intervals = analysis.statistics.intervals
    known = [((b + 0.5) / buckets, intervals[r.number]) for b, r in found if r.number in intervals]
    middle = [place for place, _ in known]
    tips = [f"the best here: {metric_text(value, metric=metric)}" for value in values]
    return (
        Segments(
            x0=left, x1=right, y0=values, y1=values, colour=INK, width=1.8, trials=[r.number for _, r in found],
            tips=tips,
        ),
        Segments(
            x0=middle, x1=middle, y0=[i.low for _, i in known], y1=[i.high for _, i in known], colour=INK, width=0.8
        ),
    )  # fmt: skip


def importance(analysis: Analysis) -> Chart | None:
    """Share of the variation that each hyperparameter explains, with its interval and the noise floor."""
    known = [i for i in analysis.importances[:14] if i.floor < 1.0]
    if not known:
        return None
    rows = dict(zip((i.name for i in known), rows_of(known), strict=True))
    sure = [i for i in known if i.finding is Finding.MATTERS]
    marks: list[Mark] = [
        _bars(found, rows, colour)
        for found, colour in ((sure, BLUE), ([i for i in known if i not in sure], GREY))
        if found
    ]
    at_row, floors = list(rows.values()), [i.floor for i in known]
    marks += [
        Segments(
            x0=[i.interval.low for i in known], x1=[i.interval.high for i in known], y0=at_row, y1=at_row, colour=INK,
            width=1.0, label="95 % interval",
        ),
        Segments(
            x0=floors, x1=floors, y0=[row - 0.38 for row in at_row], y1=[row + 0.38 for row in at_row], colour=ORANGE,
            width=2.2, label="luck alone reaches this",
        ),
    ]  # fmt: skip
    limit = min(1.0, 1.05 * max(0.1, *(max(i.interval.high, i.floor) for i in known)))
    return Chart(
        x=Axis(label="share of the variation in rank", limits=(0.0, limit), form="percent"),
        y=row_axis([short(i.name, 18) for i in known]),
        marks=tuple(marks),
        height=0.9 + 0.3 * len(known),
    )


def _bars(found: list[Importance], rows: dict[str, float], colour: str) -> Bars:
    shares = [max(0.0, i.share) for i in found]
    return Bars(
        rows=[rows[i.name] for i in found],
        left=[0.0] * len(found),
        right=shares,
        colour=colour,
        alpha=1.0 if colour == BLUE else 0.6,
        tips=[f"{i.name}: {i.share:.0%}, {i.interval.low:.0%} to {i.interval.high:.0%}" for i in found],
    )


def parallel_coordinates(analysis: Analysis) -> Parallel | None:
    """All trials as lines through the hyperparameters, one row for each."""
    dimensions = [d for d in shown_dimensions(analysis) if d.name not in analysis.kept][:_MOST_ROWS]
    ranked = [r.number for r in analysis.statistics.ranked if all(d.name in r.params for d in dimensions)]
    if len(dimensions) < 2 or len(ranked) < 3:
        return None
    rows = [ParallelRow(name=short(d.name, 18), column=at(d.name), ticks=_few(unit_ticks(d))) for d in dimensions]
    return Parallel(rows=tuple(rows), ranked=ranked)


def _few(ticks: tuple[tuple[float, str], ...]) -> tuple[tuple[float, str], ...]:
    return ticks[:: max(1, math.ceil(len(ticks) / 5))]
