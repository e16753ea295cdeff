"""Figures of the search as it went: best so far, curves over epochs, would more trials or examples help."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tuner.records import Direction, TrialState
from tuner.report.analysis import Analysis
from tuner.report.figures.axes import clip_to, metric_limits, scatter_by_tier
from tuner.report.figures.style import INK, SERIES, new_figure

_CURVES = 4
"""Trials in one figure of curves."""


def best_so_far(analysis: Analysis) -> Figure | None:
    """Each trial's dev metric in the order in which they were proposed, and the best until then."""
    study = analysis.study
    shown = [r for r in study.records if r.value is not None and np.isfinite(r.value)]
    if len(shown) < 2:
        return None
    figure = new_figure()
    axes = figure.add_subplot()
    numbers = np.array([r.number for r in shown], dtype=np.float64)
    values = np.array([r.value for r in shown], dtype=np.float64)
    limits = metric_limits(values.tolist(), direction=study.direction)
    scatter_by_tier(axes, shown, numbers, clip_to(values, limits))
    finished = [r for r in shown if r.state is TrialState.COMPLETE]
    if finished:
        running_best = np.maximum if study.direction is Direction.MAXIMIZE else np.minimum
        best = running_best.accumulate(np.array([r.value for r in finished], dtype=np.float64))
        better = np.flatnonzero(np.r_[True, np.diff(best) != 0])
        places = [*(finished[i].number for i in better), shown[-1].number]
        axes.step(places, [*best[better], best[-1]], where="post", color=INK, label="best finished")
    axes.set_ylim(limits)
    axes.set_xlabel("trial")
    axes.set_ylabel(f"dev {study.metric}")
    axes.legend(loc="best", ncols=2, handletextpad=0.3, columnspacing=0.8)
    return figure


def training_curves(analysis: Analysis) -> Figure | None:
    """Training and dev metric of the best trials over their epochs."""
    return _curves(analysis, of="metric")


def loss_curves(analysis: Analysis) -> Figure | None:
    """Training and dev loss of the best trials over their epochs."""
    return _curves(analysis, of="loss")


def _curves(analysis: Analysis, *, of: str) -> Figure | None:
    ranked = [r for r in analysis.statistics.ranked[:_CURVES] if r.number in analysis.curves]
    if not ranked:
        return None
    figure = new_figure()
    axes = figure.add_subplot()
    late: list[float] = []
    for record, colour in zip(ranked, SERIES, strict=False):
        curve = analysis.curves[record.number]
        epochs = [e.epoch for e in curve]
        dev = [e.dev_metric if of == "metric" else e.dev_loss for e in curve]
        train = [e.train_metric if of == "metric" else e.train_loss for e in curve]
        axes.plot(epochs, dev, color=colour, label=f"trial {record.number}")
        axes.plot(epochs, train, color=colour, linestyle=(0, (3, 2)), linewidth=1.0, alpha=0.9)
        if record.best is not None and of == "metric":
            axes.plot(record.best.epoch, record.best.dev_metric, "o", color=colour, markersize=5)
        late += [*dev[len(dev) // 5 :], *train[len(train) // 5 :]]
    finite = [v for v in late if np.isfinite(v)]
    if of == "metric" and finite:
        axes.set_ylim(metric_limits(finite, direction=analysis.study.direction))
    if of == "loss" and finite and min(finite) > 0 and max(finite) / min(finite) > 20:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")  # as text: figures know no mathematics
    axes.plot([], [], color=INK, label="dev")
    axes.plot([], [], color=INK, linestyle=(0, (3, 2)), linewidth=1.0, label="train")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(analysis.study.metric if of == "metric" else "loss")
    axes.legend(loc="best", ncols=2, handletextpad=0.4, columnspacing=0.8)
    return figure


def more_trials(analysis: Analysis) -> Figure | None:
    """Expected best of k random trials of this study."""
    found = analysis.more_trials
    if found is None:
        return None
    figure = new_figure(height_inches=2.5)
    axes = figure.add_subplot()
    total = found.counts[-1]
    axes.fill_between(
        found.counts, found.low, found.high, color=SERIES[0], alpha=0.2, linewidth=0, label="80 % of draws"
    )
    axes.plot(found.counts, found.mean, color=SERIES[0], label="mean")
    axes.set_xscale("log", base=2)
    powers = range(0, total.bit_length(), 1 + total.bit_length() // 8)
    ticks = [2**i for i in powers if 2**i <= total]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_ylim(metric_limits([*found.mean[1:], *found.high], direction=analysis.study.direction))
    axes.set_xlabel("trials")
    axes.set_ylabel(f"best dev {analysis.study.metric}")
    axes.legend(loc="lower right" if analysis.study.direction is Direction.MAXIMIZE else "upper right")
    return figure


def learning_curve(analysis: Analysis) -> Figure | None:
    """The winner's dev and training metric by the number of examples that it was trained on."""
    found = analysis.learning_curve
    if found is None or len(found.points) < 2:
        return None
    figure = new_figure(height_inches=2.8)
    axes = figure.add_subplot()
    examples, shown = [point.examples for point in found.points], [v for point in found.points for v in point.values]
    for point in found.points:
        axes.plot([point.examples] * len(point.values), point.values, "o", color=SERIES[0], alpha=0.35, markersize=4)
        if point.interval is not None:
            ends = [point.interval.low, point.interval.high]
            axes.plot([point.examples] * 2, ends, color=SERIES[0], linewidth=1.4)
            shown += ends
    axes.plot(examples, [point.mean for point in found.points], "o-", color=SERIES[0], label="dev, mean of seeds")
    trained = [(point.examples, point.train) for point in found.points if point.train is not None]
    if trained:
        axes.plot(*zip(*trained, strict=True), "s", color=SERIES[1], linestyle=(0, (3, 2)), label="train")
        shown += [value for _, value in trained]
    pad = 0.06 * (max(shown) - min(shown)) or 1e-3 * abs(max(shown)) or 1e-3
    axes.set_ylim(min(shown) - pad, max(shown) + pad)
    axes.set_xscale("log")
    axes.set_xticks(examples, [f"{count:,}" for count in examples])
    axes.minorticks_off()
    axes.set_xlabel("training examples")
    axes.set_ylabel(analysis.study.metric)
    axes.legend(loc="best", handletextpad=0.4)
    return figure
