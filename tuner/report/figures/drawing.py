"""Draws figures with matplotlib, for PNG files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tuner.report.analysis import Analysis
from tuner.report.figures.chart import (
    Axis,
    Band,
    Bars,
    Cells,
    Chart,
    Drawing,
    Figure,
    Line,
    Mark,
    Parallel,
    Pictures,
    Points,
    Segments,
    Trials,
)
from tuner.report.figures.columns import Columns, trial_columns
from tuner.report.figures.palette import BLUE, GREY, INK, ORANGE, short, tier_order, tier_style
from tuner.report.figures.style import lay_out, new_figure, styled
from tuner.report.figures.table import figures_of

_DASHES = (0, (3, 2))
_BASES = {"log": 10, "log2": 2}
_BEST, _LINES = 5, 60
"""Lines of parallel coordinates: the best in colour, and so many others."""
_PICTURE_COLUMNS = 6
_PICTURE_ROW_INCHES = 0.97
_PICTURE_GAP_INCHES = 0.035
_MANY_POINTS = 200
"""More become a picture."""


def drawn(analysis: Analysis) -> Iterator[tuple[Figure, Canvas]]:
    """Every figure of the report, drawn."""
    columns = trial_columns(analysis)
    for figure in figures_of(analysis):
        yield figure, draw(figure, columns)


def draw(figure: Figure, columns: Columns) -> Canvas:
    """A figure of the trials that have these columns."""
    with styled():
        canvas = _draw(figure.drawing, columns)
        if not isinstance(figure.drawing, Pictures):
            lay_out(canvas)
    return canvas


def _draw(drawing: Drawing, columns: Columns) -> Canvas:
    match drawing:
        case Chart():
            return _draw_chart(drawing, columns)
        case Parallel():
            return _draw_parallel(drawing, columns)
        case Pictures():
            return _draw_pictures(drawing)


def _draw_chart(chart: Chart, columns: Columns) -> Canvas:
    canvas = new_figure(height_inches=chart.height)
    axes = canvas.add_subplot()
    for mark in chart.marks:
        _draw_mark(axes, mark, chart, columns)
    _set_axis(axes, chart.x, "x")
    _set_axis(axes, chart.y, "y")
    if axes.get_legend_handles_labels()[1]:
        if chart.y.ticks and not chart.y.grid:  # rows, which fill the axes
            place: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.45, 1.0), "ncols": 3}
            axes.legend(**place, borderaxespad=0.2, handletextpad=0.2, columnspacing=0.8)
        else:
            axes.legend(loc="best", ncols=2, handletextpad=0.3, columnspacing=0.8)
    return canvas


def _set_axis(axes: Axes, axis: Axis, which: str) -> None:
    place = axes.xaxis if which == "x" else axes.yaxis
    if axis.scale != "linear":
        (axes.set_xscale if which == "x" else axes.set_yscale)("log", base=_BASES[axis.scale])
    (axes.set_xlim if which == "x" else axes.set_ylim)(axis.limits)
    place.set_label_text(axis.label)
    if axis.ticks is not None:
        names = [label for _, label in axis.ticks]
        place.set_ticks([at for at, _ in axis.ticks], names)
        if which == "x" and len(names) > 10 and max(map(len, names)) > 3:
            axes.tick_params(axis="x", rotation=60)
        axes.minorticks_off()
    elif axis.scale != "linear":
        place.set_major_formatter(lambda value, _: f"{value:g}")  # as text: figures know no mathematics
        axes.minorticks_off()
    elif axis.form == "integer":
        place.set_major_locator(MaxNLocator(integer=True))
    elif axis.form == "percent":
        place.set_major_formatter(lambda share, _: f"{share:.0%}")
    if not axis.grid:
        place.grid(visible=False)


def _clip(values: Any, axis: Axis) -> NDArray[np.float64]:
    """The values, those outside drawn on the edge."""
    low, high = axis.limits
    pad = 0.015 * (high - low) if axis.scale == "linear" and axis.grid else 0.0
    return np.clip(np.asarray(values, dtype=np.float64), low + pad, high - pad)


def _draw_mark(axes: Axes, mark: Mark, chart: Chart, columns: Columns) -> None:
    match mark:
        case Trials():
            _draw_trials(axes, mark, chart, columns)
        case Points():
            marker = {"x": "x", "s": "s", "D": "D"}.get(mark.shape, "o")
            colours: dict[str, Any] = {"c": mark.colour} if mark.shape == "x" else {
                "facecolors": "none" if mark.hollow else mark.colour, "edgecolors": mark.colour,
            }  # fmt: skip
            axes.scatter(
                _clip(mark.x, chart.x), _clip(mark.y, chart.y), s=np.square(mark.sizes), marker=marker,
                alpha=mark.alpha, label=mark.label or None, clip_on=mark.shape != "x", zorder=3,
                linewidths=1.2 if mark.hollow or mark.shape == "x" else 0, **colours,
            )  # fmt: skip
        case Line():
            axes.plot(
                mark.x, mark.y, color=mark.colour, linewidth=mark.width, label=mark.label or None,
                linestyle=_DASHES if mark.dashed else "-",
                drawstyle=f"steps-{mark.step}" if mark.step else "default",
            )  # fmt: skip
        case Band():
            axes.fill_between(
                mark.x, mark.low, mark.high, color=mark.colour, alpha=0.2, linewidth=0, label=mark.label or None
            )
        case Segments():
            ends = [_clip(end, axis) for end, axis in zip(
                (mark.x0, mark.x1, mark.y0, mark.y1), (chart.x, chart.x, chart.y, chart.y), strict=True
            )]  # fmt: skip
            axes.plot(ends[:2], ends[2:], color=mark.colour, linewidth=mark.width, solid_capstyle="butt")
            if mark.label:
                axes.plot([], [], color=mark.colour, linewidth=mark.width, label=mark.label)
        case Bars():
            widths = np.subtract(mark.right, mark.left)
            axes.barh(
                mark.rows, widths, left=mark.left, height=mark.height, color=mark.colour, alpha=mark.alpha,
                label=mark.label or None,
            )  # fmt: skip
        case Cells():
            shares = np.array(mark.shares)
            rows, count = shares.shape
            axes.imshow(
                shares, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto", extent=(-0.5, count - 0.5, 0.5 - rows, 0.5)
            )
            for row, texts in enumerate(mark.texts):
                for column, text in enumerate(texts):
                    colour = "white" if shares[row, column] > 0.5 else "#303030"
                    axes.text(column, -row, text, ha="center", va="center", color=colour, fontsize=7)


def _draw_trials(axes: Axes, mark: Trials, chart: Chart, columns: Columns) -> None:
    """One series for each part of the search, with its colour and marker."""
    x, y = columns.values[mark.x], columns.values[mark.y]
    there, tiers = ~(np.isnan(x) | np.isnan(y)), np.array(columns.tiers)
    many = int(there.sum()) > _MANY_POINTS
    for tier in tier_order(columns.tiers):
        chosen = there & (tiers == tier)
        colour, marker = tier_style(tier)
        if chosen.any():
            axes.scatter(
                _clip(x[chosen], chart.x), _clip(y[chosen], chart.y), s=7 if many else 16, c=colour, marker=marker,
                alpha=0.8, linewidths=0, label=short(tier or "trials"), rasterized=many,
            )  # fmt: skip


def _draw_parallel(chart: Parallel, columns: Columns) -> Canvas:
    """The best trials as lines, over a sample of the others."""
    canvas = new_figure(height_inches=0.7 + 0.5 * len(chart.rows))
    axes = canvas.add_subplot()
    rows = np.arange(len(chart.rows))[::-1]
    index = {number: i for i, number in enumerate(columns.numbers)}
    step = max(1, len(chart.ranked) // _LINES)
    for number in [*chart.ranked[_BEST::step][::-1], *chart.ranked[:_BEST][::-1]]:
        first, top = number == chart.ranked[0], number in chart.ranked[:_BEST]
        axes.plot(
            [columns.values[row.column][index[number]] for row in chart.rows], rows,
            color=ORANGE if first else BLUE if top else GREY, linewidth=2.4 if first else 1.5 if top else 0.6,
            alpha=1.0 if top else 0.35, marker="o" if top else None, markersize=3.5,
        )  # fmt: skip
    for place, row in zip(rows, chart.rows, strict=True):
        axes.plot([0, 1], [place, place], color=INK, linewidth=0.5)
        for at, label in row.ticks:
            axes.annotate(label, (at, place), (0, -8), textcoords="offset points", ha="center", va="center", fontsize=7)
    axes.set_yticks(rows, [row.name for row in chart.rows])
    axes.set_xticks([])
    axes.set_ylim(-0.5, len(rows) - 0.6)
    axes.grid(visible=False)
    axes.spines["bottom"].set_visible(False)
    for colour, label in ((ORANGE, "best"), (BLUE, "next four"), (GREY, "others")):
        axes.plot([], [], color=colour, label=label)
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=3, borderaxespad=0.2)
    return canvas


def _draw_pictures(found: Pictures) -> Canvas:
    """All in one place, whose units are inches: axes for each would take six times as long."""
    rows = -(-len(found.pixels) // _PICTURE_COLUMNS)
    canvas = new_figure(height_inches=_PICTURE_ROW_INCHES * rows)
    width, height = canvas.get_size_inches()
    axes = canvas.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    cell = width / _PICTURE_COLUMNS
    for place, (pixels, title) in enumerate(zip(found.pixels, found.titles, strict=True)):
        row, column = divmod(place, _PICTURE_COLUMNS)
        x, bottom = (column + 0.5) * cell, (row + 1) * _PICTURE_ROW_INCHES - _PICTURE_GAP_INCHES
        high, wide = np.array(pixels.shape[:2]) * (cell - 2 * _PICTURE_GAP_INCHES) / max(pixels.shape[:2])
        sides = (x - wide / 2, x + wide / 2, bottom, bottom - high)
        axes.imshow(pixels, cmap="gray", interpolation="nearest", aspect="auto", extent=sides)
        axes.text(x, bottom - high - _PICTURE_GAP_INCHES, title, fontsize=6.0, ha="center", va="bottom")
    axes.set(xlim=(0, width), ylim=(height, 0))
    return canvas
