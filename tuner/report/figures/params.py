"""Figures of the hyperparameters: each against the dev metric, all together, and how much each matters."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tuner.diagnose.importance import Finding
from tuner.ranking import diverged
from tuner.records import Direction, TrialRecord, TrialState
from tuner.report.analysis import Analysis
from tuner.report.figures.axes import (
    Array,
    clip_to,
    metric_limits,
    places,
    scatter_by_tier,
    set_unit_axis,
    unit_ticks,
)
from tuner.report.figures.style import BLUE, GREY, INK, ORANGE, RED, new_figure, short
from tuner.spec.space import Dimension

_BUCKETS = 6
_LINES = 60
"""Lines in the figure of parallel coordinates."""


def against_metric(analysis: Analysis, dimension: Dimension) -> Figure | None:
    """One hyperparameter against the dev metric, the best of each bucket over all else, and what diverged."""
    study = analysis.study
    shown = [r for r in study.records if r.value is not None and math.isfinite(r.value) and dimension.name in r.params]
    x = places(dimension, [r.params[dimension.name] for r in shown])
    shown, x = [r for r, p in zip(shown, x, strict=True) if not math.isnan(p)], x[~np.isnan(x)]
    if len(shown) < 2:
        return None
    figure = new_figure(height_inches=2.6)
    axes = figure.add_subplot()
    y = np.array([r.value for r in shown], dtype=np.float64)
    limits = metric_limits(y.tolist(), direction=study.direction)
    shift = _jitter(dimension, [r.number for r in shown])
    scatter_by_tier(axes, shown, x + shift, clip_to(y, limits))
    _draw_best_of_buckets(axes, analysis, dimension, shown, x, limits)
    bad = places(dimension, [r.params.get(dimension.name) for r in study.records if diverged(r)])
    if len(bad):
        worst = limits[0] if study.direction is Direction.MAXIMIZE else limits[1]
        axes.plot(bad, [worst] * len(bad), "x", color=RED, markersize=5, clip_on=False, label="diverged")
    axes.set_ylim(limits)
    set_unit_axis(axes, dimension)
    axes.set_ylabel(f"dev {study.metric}")
    return figure


def _draw_best_of_buckets(
    axes: Axes,
    analysis: Analysis,
    dimension: Dimension,
    shown: list[TrialRecord],
    x: Array,
    limits: tuple[float, float],
) -> None:
    """The isolation plot: the best finished trial of each bucket, over all other hyperparameters, with its interval."""
    sign = analysis.study.direction.sign
    buckets = len(dimension.choices) if dimension.kind == "categorical" else _BUCKETS
    best: dict[int, TrialRecord] = {}
    for record, at in zip(shown, x, strict=True):
        bucket = min(int(at * buckets), buckets - 1)
        if record.state is not TrialState.COMPLETE:
            continue
        if bucket not in best or sign * (record.value or 0.0) > sign * (best[bucket].value or 0.0):
            best[bucket] = record
    for bucket, record in sorted(best.items()):
        value = float(clip_to(np.array([record.value]), limits)[0])
        left, right = bucket / buckets, (bucket + 1) / buckets
        axes.plot([left + 0.01, right - 0.01], [value, value], color=INK, linewidth=1.8)
        interval = analysis.statistics.intervals.get(record.number)
        if interval is not None:
            ends = clip_to(np.array([interval.low, interval.high]), limits)
            middle = (left + right) / 2
            axes.plot([middle, middle], ends, color=INK, linewidth=0.8)


def _jitter(dimension: Dimension, numbers: list[int]) -> Array:
    """A fixed small shift that keeps points of equal choices apart."""
    if dimension.kind != "categorical":
        return np.zeros(len(numbers))
    golden = (np.array(numbers) * 0.6180339887) % 1.0 - 0.5
    return golden * 0.5 / len(dimension.choices)


def importance(analysis: Analysis) -> Figure | None:
    """Share of the variation that each hyperparameter explains, with its interval and the noise floor."""
    found = analysis.importances[:14]
    known = [i for i in found if i.floor < 1.0]
    if not known:
        return None
    figure = new_figure(height_inches=0.9 + 0.3 * len(known))
    axes = figure.add_subplot()
    rows = np.arange(len(known))[::-1]
    for row, item in zip(rows, known, strict=True):
        sure = item.finding is Finding.MATTERS
        axes.barh(row, item.share, height=0.6, color=BLUE if sure else GREY, alpha=1.0 if sure else 0.6)
        axes.plot([item.interval.low, item.interval.high], [row, row], color=INK, linewidth=1.0)
        axes.plot([item.floor, item.floor], [row - 0.38, row + 0.38], color=ORANGE, linewidth=2.2)
    axes.plot([], [], color=ORANGE, linewidth=2.2, label="luck alone reaches this")
    axes.plot([], [], color=INK, linewidth=1.0, label="95 % interval")
    axes.set_yticks(rows, [short(i.name, 18) for i in known])
    axes.set_xlim(0, min(1.0, 1.05 * max(0.1, *(max(i.interval.high, i.floor) for i in known))))
    axes.xaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.set_xlabel("share of the variation in rank")
    axes.grid(visible=False, axis="y")
    axes.legend(loc="lower right")
    return figure


def parallel_coordinates(analysis: Analysis) -> Figure | None:
    """The best trials as lines through all hyperparameters, one row for each, over a sample of the others."""
    dimensions = [d for d in analysis.space if not d.fixed][:12]
    ranked = [r for r in analysis.statistics.ranked if all(d.name in r.params for d in dimensions)]
    if len(dimensions) < 2 or len(ranked) < 3:
        return None
    figure = new_figure(height_inches=0.7 + 0.5 * len(dimensions))
    axes = figure.add_subplot()
    rows = np.arange(len(dimensions))[::-1]
    best = ranked[:5]
    step = max(1, len(ranked) // _LINES)
    drawn = [*ranked[5::step][::-1], *best[::-1]]
    lines = np.stack([places(d, [record.params[d.name] for record in drawn]) for d in dimensions], axis=1)
    for record, x in zip(drawn, lines, strict=True):
        first, top = record is ranked[0], record in best
        colour = ORANGE if first else BLUE if top else GREY
        axes.plot(
            x, rows, color=colour, linewidth=2.4 if first else 1.5 if top else 0.6, alpha=1.0 if top else 0.35,
            marker="o" if top else None, markersize=3.5,
        )  # fmt: skip
    for row, dimension in zip(rows, dimensions, strict=True):
        ticks, labels = unit_ticks(dimension)
        axes.plot([0, 1], [row, row], color=INK, linewidth=0.5)
        keep = max(1, math.ceil(len(ticks) / 5))
        for at, label in list(zip(ticks, labels, strict=True))[::keep]:
            axes.annotate(label, (at, row), (0, -8), textcoords="offset points", ha="center", va="center", fontsize=7)
    axes.set_yticks(rows, [short(d.name, 18) for d in dimensions])
    axes.set_xticks([])
    axes.set_ylim(-0.5, len(dimensions) - 0.6)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    axes.plot([], [], color=ORANGE, linewidth=2.4, label="best")
    axes.plot([], [], color=BLUE, linewidth=1.5, label="next four")
    axes.plot([], [], color=GREY, linewidth=0.8, label="others")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, borderaxespad=0.2)
    return figure
