"""Figures of how good the best trials are: intervals and ties, what their error consists of, finalists."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tuner.report.analysis import Analysis
from tuner.report.figures.axes import clip_to, metric_limits, scatter_by_tier
from tuner.report.figures.style import BLUE, GREY, INK, ORANGE, SKY, new_figure
from tuner.spec.known.metrics import SHARES

_ROWS = 15


def ranking(analysis: Analysis) -> Figure | None:
    """The dev metric of the best trials with intervals; those that may be the best are filled."""
    statistics = analysis.statistics
    shown = [r for r in statistics.ranked[:_ROWS] if r.number in statistics.intervals and r.value is not None]
    if len(shown) < 2:
        return None
    figure = new_figure(height_inches=0.8 + 0.2 * len(shown))
    axes = figure.add_subplot()
    rows = np.arange(len(shown))[::-1]
    for row, record in zip(rows, shown, strict=True):
        interval = statistics.intervals[record.number]
        tied = record.number in statistics.ties
        axes.plot([interval.low, interval.high], [row, row], color=BLUE if tied else GREY, linewidth=1.2)
        assert record.value is not None
        axes.plot(
            record.value, row, "o", color=BLUE if tied else GREY, markerfacecolor=BLUE if tied else "none", markersize=5
        )
    smallest = statistics.smallest
    if smallest in shown and smallest is not None and smallest.value is not None:
        axes.plot(smallest.value, rows[shown.index(smallest)], "o", color=ORANGE, markersize=10, markerfacecolor="none")
        axes.plot([], [], "o", color=ORANGE, markersize=9, markerfacecolor="none", label="smallest network")
    axes.plot([], [], "o", color=BLUE, label="may be the best")
    if not all(r.number in statistics.ties for r in shown):
        axes.plot([], [], "o", color=GREY, markerfacecolor="none", label="is not")
    axes.set_yticks(rows, [f"trial {r.number}" for r in shown])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"dev {analysis.study.metric}, 95 % interval")
    axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=3, borderaxespad=0.2, handletextpad=0.2)
    return figure


def error_parts(analysis: Analysis) -> Figure | None:
    """The dev error of the best trials: the target, bias above it, variance above that."""
    scale = 100.0 if analysis.study.metric in SHARES else 1.0
    errors = {number: scale * parts.dev_error for number, parts in analysis.parts.items()}
    shown = [r for r in analysis.statistics.ranked[:10] if math.isfinite(1.04 * errors.get(r.number, math.inf))]
    if not shown:
        return None
    figure = new_figure(height_inches=0.9 + 0.24 * len(shown))
    axes = figure.add_subplot()
    rows = np.arange(len(shown))[::-1]
    for row, record in zip(rows, shown, strict=True):
        parts = analysis.parts[record.number]
        target = min(parts.target_error, parts.dev_error)
        train = min(max(parts.train_error, target), parts.dev_error)
        for left, right, colour in (
            (0.0, target, GREY),
            (target, train, ORANGE),
            (train, parts.dev_error, BLUE),
        ):
            axes.barh(row, scale * (right - left), left=scale * left, height=0.7, color=colour)
    axes.set_xlim(0.0, 1.04 * max(errors[r.number] for r in shown) or 1.0)
    handles = [Patch(color=c, label=n) for c, n in ((GREY, "target"), (ORANGE, "bias"), (BLUE, "variance"))]
    axes.set_yticks(rows, [f"trial {r.number}" for r in shown])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("dev error, %" if scale == 100.0 else f"dev error ({analysis.study.metric})")
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=3, borderaxespad=0.2)
    return figure


def train_dev_gap(analysis: Analysis) -> Figure | None:
    """Training against dev metric; trials far from the diagonal overfit."""
    study = analysis.study
    shown = [
        r for r in study.records if r.best is not None and np.isfinite([r.best.dev_metric, r.best.train_metric]).all()
    ]
    if len(shown) < 2:
        return None
    figure = new_figure(height_inches=3.2)
    axes = figure.add_subplot()
    train = np.array([r.best.train_metric for r in shown if r.best])
    dev = np.array([r.best.dev_metric for r in shown if r.best])
    x_limits = metric_limits(train.tolist(), direction=study.direction)
    y_limits = metric_limits(dev.tolist(), direction=study.direction)
    both = (min(x_limits[0], y_limits[0]), max(x_limits[1], y_limits[1]))
    axes.plot(both, both, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), label="train = dev")
    scatter_by_tier(axes, shown, clip_to(train, x_limits), clip_to(dev, y_limits))
    axes.set_xlim(x_limits)
    axes.set_ylim(y_limits)
    axes.set_xlabel(f"train {study.metric}")
    axes.set_ylabel(f"dev {study.metric}")
    axes.legend(loc="best", handletextpad=0.3)
    return figure


def finalists(analysis: Analysis) -> Figure | None:
    """Each finalist's score in the search, its scores on fresh seeds, and their mean with its interval."""
    finals = analysis.finals
    if finals is None:
        return None
    figure = new_figure(height_inches=0.9 + 0.32 * len(finals.finalists))
    axes = figure.add_subplot()
    rows = np.arange(len(finals.finalists))[::-1]
    for row, finalist in zip(rows, finals.finalists, strict=True):
        if finalist.interval is not None:
            axes.plot([finalist.interval.low, finalist.interval.high], [row, row], color=BLUE, linewidth=1.4)
        axes.plot(finalist.values, [row] * len(finalist.values), "o", color=SKY, markersize=4)
        axes.plot(finalist.mean, row, "D", color=BLUE, markersize=5.5)
        axes.plot(finalist.search_value, row, "o", color=ORANGE, markerfacecolor="none", markersize=7)
    for marker, colour, label in (("o", SKY, "fresh seeds"), ("D", BLUE, "their mean")):
        axes.plot([], [], marker, color=colour, label=label)
    axes.plot([], [], "o", color=ORANGE, markerfacecolor="none", markersize=7, label="in the search")
    axes.set_yticks(rows, [f"trial {f.record.number}" for f in finals.finalists])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"dev {analysis.study.metric}")
    axes.legend(loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=3, borderaxespad=0.2, handletextpad=0.2)
    return figure
