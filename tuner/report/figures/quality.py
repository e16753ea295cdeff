"""Figures of how good the best trials are: intervals and ties, what their error consists of, finalists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from tuner.records import TrialRecord
from tuner.report.analysis import Analysis
from tuner.report.figures.axes import metric_axis, row_axis, rows_of, span_axis
from tuner.report.figures.chart import Axis, Bars, Chart, Line, Mark, Points, Segments, Trials
from tuner.report.figures.columns import TRAIN, VALUE
from tuner.report.figures.palette import BLUE, GREY, INK, ORANGE, SKY
from tuner.report.words.numbers import metric_text
from tuner.spec.known.metrics import SHARES

_ROWS = 15


def ranking(analysis: Analysis) -> Chart | None:
    """The dev metric of the best trials with intervals; those that may be the best are filled."""
    statistics, metric = analysis.statistics, analysis.study.metric
    shown = [r for r in statistics.ranked[:_ROWS] if r.number in statistics.intervals and r.value is not None]
    if len(shown) < 2:
        return None
    place = dict(zip((r.number for r in shown), rows_of(shown), strict=True))
    tied = [r for r in shown if r.number in statistics.ties]
    others = [r for r in shown if r.number not in statistics.ties]
    said = partial(metric_text, metric=metric)
    marks: list[Mark] = []
    for group, colour, label in ((tied, BLUE, "may be the best"), (others, GREY, "is not")):
        if not group:
            continue
        ends = [statistics.intervals[r.number] for r in group]
        numbers, rows, values = [r.number for r in group], [place[r.number] for r in group], _values(group)
        tips = [f"{said(v)}, {said(e.low)} to {said(e.high)}" for v, e in zip(values, ends, strict=True)]
        marks.append(Segments(x0=[e.low for e in ends], x1=[e.high for e in ends], y0=rows, y1=rows, colour=colour))
        marks.append(
            Points(x=values, y=rows, colour=colour, hollow=group is others, label=label, trials=numbers, tips=tips)
        )
    smallest = statistics.smallest
    if smallest is not None and smallest.number in place:
        x, y = _values([smallest]), [place[smallest.number]]
        marks.append(Points(x=x, y=y, colour=ORANGE, sizes=10.0, hollow=True, label="smallest network"))
    shown_values = [v for r in shown for e in [statistics.intervals[r.number]] for v in (e.low, e.high, *_values([r]))]
    return Chart(
        x=span_axis(shown_values, label=f"dev {metric}, 95 % interval"),
        y=row_axis([f"trial {r.number}" for r in shown]),
        marks=tuple(marks),
        height=0.8 + 0.2 * len(shown),
    )


def _values(records: Sequence[TrialRecord]) -> list[float]:
    return [r.value for r in records if r.value is not None]


def error_parts(analysis: Analysis) -> Chart | None:
    """The dev error of the best trials: the target, bias above it, variance above that."""
    metric = analysis.study.metric
    scale = 100.0 if metric in SHARES else 1.0
    errors = {number: scale * parts.dev_error for number, parts in analysis.parts.items()}
    shown = [r for r in analysis.statistics.ranked[:10] if math.isfinite(1.04 * errors.get(r.number, math.inf))]
    if not shown:
        return None
    rows = rows_of(shown)
    ends = []
    for record in shown:
        parts = analysis.parts[record.number]
        target = min(parts.target_error, parts.dev_error)
        train = min(max(parts.train_error, target), parts.dev_error)
        ends.append([0.0, *(scale * end for end in (target, train, parts.dev_error))])
    numbers, unit = [r.number for r in shown], " %" if scale == 100.0 else ""
    marks: list[Mark] = []
    for part, (label, colour) in enumerate((("target", GREY), ("bias", ORANGE), ("variance", BLUE))):
        left, right = [end[part] for end in ends], [end[part + 1] for end in ends]
        tips = [f"{label} {b - a:.3g}{unit}" for a, b in zip(left, right, strict=True)]
        marks.append(Bars(rows=rows, left=left, right=right, colour=colour, label=label, trials=numbers, tips=tips))
    label = "dev error, %" if scale == 100.0 else f"dev error ({metric})"
    return Chart(
        x=Axis(label=label, limits=(0.0, 1.04 * max(errors[r.number] for r in shown) or 1.0)),
        y=row_axis([f"trial {number}" for number in numbers]),
        marks=tuple(marks),
        height=0.9 + 0.24 * len(shown),
    )


def train_dev_gap(analysis: Analysis) -> Chart | None:
    """Training against dev metric; trials far from the diagonal overfit."""
    study = analysis.study
    shown = [
        r.best
        for r in study.records
        if r.best is not None and np.isfinite([r.best.dev_metric, r.best.train_metric]).all()
    ]
    if len(shown) < 2:
        return None
    direction, metric = study.direction, study.metric
    x = metric_axis([best.train_metric for best in shown], direction=direction, label=f"train {metric}")
    y = metric_axis([best.dev_metric for best in shown], direction=direction, label=f"dev {metric}")
    both = (min(x.limits[0], y.limits[0]), max(x.limits[1], y.limits[1]))
    # Cut to where it is seen: what lies outside the limits would be drawn on the edge.
    ends = (max(x.limits[0], y.limits[0]), min(x.limits[1], y.limits[1]))
    line = ends if ends[0] < ends[1] else both
    return Chart(
        x=x,
        y=y,
        marks=(Line(x=line, y=line, colour=INK, width=0.8, dashed=True, label="train = dev"), Trials(x=TRAIN, y=VALUE)),
        height=3.2,
    )


def finalists(analysis: Analysis) -> Chart | None:
    """Each finalist's score in the search, its scores on fresh seeds, and their mean with its interval."""
    finals, metric = analysis.finals, analysis.study.metric
    if finals is None:
        return None
    shown = finals.finalists
    rows, numbers = rows_of(shown), [f.record.number for f in shown]
    known = [(row, f.interval) for row, f in zip(rows, shown, strict=True) if f.interval is not None]
    seeds = [(value, row, f.record.number) for row, f in zip(rows, shown, strict=True) for value in f.values]

    def tips(words: str, values: Sequence[float]) -> list[str]:
        return [f"{words}: {metric_text(value, metric=metric)}" for value in values]

    means, before = [f.mean for f in shown], [f.search_value for f in shown]
    at, lows, highs = [row for row, _ in known], [i.low for _, i in known], [i.high for _, i in known]
    fresh = [value for value, _, _ in seeds]
    return Chart(
        x=span_axis([*fresh, *means, *before, *lows, *highs], label=f"dev {metric}"),
        y=row_axis([f"trial {number}" for number in numbers]),
        marks=(
            Segments(x0=lows, x1=highs, y0=at, y1=at, colour=BLUE, width=1.4),
            Points(
                x=fresh, y=[row for _, row, _ in seeds], colour=SKY, sizes=4.0, label="fresh seeds",
                trials=[number for _, _, number in seeds], tips=tips("a fresh seed", fresh),
            ),
            Points(
                x=means, y=rows, colour=BLUE, shape="D", sizes=5.5, label="their mean",
                trials=numbers, tips=tips("mean of fresh seeds", means),
            ),
            Points(
                x=before, y=rows, colour=ORANGE, sizes=7.0, hollow=True, label="in the search",
                trials=numbers, tips=tips("in the search", before),
            ),
        ),
        height=0.9 + 0.32 * len(shown),
    )  # fmt: skip
