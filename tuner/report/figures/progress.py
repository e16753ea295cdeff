"""Figures of the search as it went: best so far, curves over epochs, would more trials or examples help."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from tuner.records import Direction, EpochResult, TrialRecord, TrialState
from tuner.report.analysis import Analysis
from tuner.report.figures.axes import metric_axis, span_axis
from tuner.report.figures.chart import Axis, Band, Chart, Line, Mark, Points, Segments, Trials
from tuner.report.figures.columns import NUMBER, VALUE
from tuner.report.figures.palette import INK, SERIES
from tuner.report.words.numbers import metric_text

_CURVES = 4
"""Trials in one figure of curves."""
Curves = Mapping[int, Sequence[EpochResult]]


def best_so_far(analysis: Analysis) -> Chart | None:
    """Each trial's dev metric in the order in which they were proposed, and the best until then."""
    study = analysis.study
    shown = [r for r in study.records if r.value is not None and np.isfinite(r.value)]
    if len(shown) < 2:
        return None
    values = [r.value for r in shown if r.value is not None]
    marks: list[Mark] = [Trials(x=NUMBER, y=VALUE)]
    finished = [r for r in shown if r.state is TrialState.COMPLETE]
    if finished:
        running_best = np.maximum if study.direction is Direction.MAXIMIZE else np.minimum
        best = running_best.accumulate(np.array([r.value for r in finished], dtype=np.float64))
        better = np.flatnonzero(np.r_[True, np.diff(best) != 0])
        steps = [*(finished[i].number for i in better), shown[-1].number]
        marks.append(Line(x=steps, y=[*best[better], best[-1]], step="post", colour=INK, label="best finished"))
    last = shown[-1].number
    return Chart(
        x=Axis(label="trial", limits=(-0.03 * last - 0.5, 1.03 * last + 0.5), form="integer"),
        y=metric_axis(values, direction=study.direction, label=f"dev {study.metric}"),
        marks=tuple(marks),
    )


def training_curves(analysis: Analysis) -> Chart | None:
    """Training and dev metric of the best trials over their epochs."""
    return curves_of(_best(analysis), analysis.curves, analysis=analysis, of="metric")


def loss_curves(analysis: Analysis) -> Chart | None:
    """Training and dev loss of the best trials over their epochs."""
    return curves_of(_best(analysis), analysis.curves, analysis=analysis, of="loss")


def _best(analysis: Analysis) -> list[TrialRecord]:
    return [r for r in analysis.statistics.ranked[:_CURVES] if r.number in analysis.curves]


def curves_of(
    records: Sequence[TrialRecord], curves: Curves, *, analysis: Analysis, of: Literal["metric", "loss"]
) -> Chart | None:
    """The metric or the loss of some trials over their epochs: dev solid, train dashed, the best epoch a dot."""
    marks: list[Mark] = []
    late: list[float] = []
    longest = 1
    for record, colour in zip(records, SERIES, strict=False):
        curve = curves[record.number]
        epochs = [e.epoch for e in curve]
        dev = [e.dev_metric if of == "metric" else e.dev_loss for e in curve]
        train = [e.train_metric if of == "metric" else e.train_loss for e in curve]
        trial = record.number
        marks.append(Line(x=epochs, y=dev, colour=colour, label=record.name, trial=trial, part="dev"))
        marks.append(Line(x=epochs, y=train, colour=colour, dashed=True, width=1.0, trial=trial, part="train"))
        if record.best is not None and of == "metric":
            best = record.best
            marks.append(
                Points(x=[best.epoch], y=[best.dev_metric], colour=colour, trials=[trial], tips=["best epoch"])
            )
        late += [*dev[len(dev) // 5 :], *train[len(train) // 5 :]]
        longest = max(longest, *epochs)
    finite = [v for v in late if np.isfinite(v)]
    if not marks:
        return None
    marks.append(Line(x=[], y=[], colour=INK, label="dev"))
    marks.append(Line(x=[], y=[], colour=INK, dashed=True, width=1.0, label="train"))
    label = analysis.study.metric if of == "metric" else "loss"
    is_metric = of == "metric" and bool(finite)
    return Chart(
        x=Axis(label="epoch", limits=(1 - 0.04 * longest, 1.03 * longest), form="integer"),
        y=metric_axis(finite, direction=analysis.study.direction, label=label) if is_metric else _loss_axis(marks),
        marks=tuple(marks),
    )


def _loss_axis(marks: Iterable[Mark]) -> Axis:
    """All losses, on a logarithmic scale where they are far apart."""
    values = np.concatenate([np.asarray(m.y, dtype=np.float64) for m in marks if isinstance(m, Line)])
    values = values[np.isfinite(values)]
    if not len(values):
        return Axis(label="loss", limits=(0.0, 1.0))
    low, high = float(values.min()), float(values.max())
    if low > 0 and high / low > 20:
        return Axis(label="loss", limits=(low / 1.1, high * 1.1), scale="log")
    pad = 0.05 * (high - low) or abs(high) * 0.05 or 1.0
    return Axis(label="loss", limits=(low - pad, high + pad))


def more_trials(analysis: Analysis) -> Chart | None:
    """Expected best of k random trials of this study."""
    found = analysis.more_trials
    if found is None:
        return None
    study, total = analysis.study, found.counts[-1]
    powers = range(0, total.bit_length(), 1 + total.bit_length() // 8)
    ticks = tuple((float(2**i), str(2**i)) for i in powers if 2**i <= total)
    blue = SERIES[0]
    tips = [
        f"{count} trials: {metric_text(mean, metric=study.metric)}"
        for count, mean in zip(found.counts, found.mean, strict=True)
    ]
    return Chart(
        x=Axis(label="trials", limits=(0.95, 1.05 * total), scale="log2", ticks=ticks),
        y=span_axis([*found.mean[1:], *found.low[1:], *found.high], label=f"best dev {study.metric}"),
        marks=(
            Band(x=found.counts, low=found.low, high=found.high, colour=blue, label="80 % of draws"),
            Line(x=found.counts, y=found.mean, colour=blue, label="mean"),
            Points(x=found.counts, y=found.mean, colour=blue, sizes=2.5, tips=tips),
        ),
        height=2.5,
    )


def learning_curve(analysis: Analysis) -> Chart | None:
    """The winner's dev and training metric by the number of examples that it was trained on."""
    found = analysis.learning_curve
    if found is None or len(found.points) < 2:
        return None
    metric, points = analysis.study.metric, found.points
    examples = [float(point.examples) for point in points]
    each = [(point.examples, value) for point in points for value in point.values]
    known = [(point.examples, point.interval) for point in points if point.interval is not None]
    trained = [(point.examples, point.train) for point in points if point.train is not None]
    lows, highs = [interval.low for _, interval in known], [interval.high for _, interval in known]
    at_known, means = [float(at) for at, _ in known], [point.mean for point in points]
    blue, orange = SERIES[0], SERIES[1]
    marks: list[Mark] = [
        Points(x=[x for x, _ in each], y=[y for _, y in each], colour=blue, alpha=0.35, sizes=4.0),
        Segments(x0=at_known, x1=at_known, y0=lows, y1=highs, colour=blue, width=1.4),
        Line(x=examples, y=means, colour=blue, label="dev, mean of seeds"),
        Points(x=examples, y=means, colour=blue, tips=[f"dev {metric_text(v, metric=metric)}" for v in means]),
    ]
    shown = [value for _, value in each] + lows + highs
    if trained:
        x, y = [float(at) for at, _ in trained], [value for _, value in trained]
        marks.append(Line(x=x, y=y, colour=orange, dashed=True, label="train"))
        tips = [f"train {metric_text(v, metric=metric)}" for v in y]
        marks.append(Points(x=x, y=y, colour=orange, shape="s", tips=tips))
        shown += y
    pad = 0.06 * (max(shown) - min(shown)) or 1e-3 * abs(max(shown)) or 1e-3
    ticks = tuple((count, f"{count:,.0f}") for count in examples)
    limits = (min(examples) / 1.1, max(examples) * 1.1)
    return Chart(
        x=Axis(label="training examples", limits=limits, scale="log", ticks=ticks),
        y=Axis(label=metric, limits=(min(shown) - pad, max(shown) + pad)),
        marks=tuple(marks),
        height=2.8,
    )
