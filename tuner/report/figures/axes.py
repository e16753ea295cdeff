"""Axes of hyperparameters and of metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from tuner.records import Direction, ParamValue, TrialRecord
from tuner.report.figures.style import short, tier_order, tier_style
from tuner.spec.space import Dimension

Array = NDArray[np.float64]


def places(dimension: Dimension, values: Sequence[ParamValue | None]) -> Array:
    """Where values lie on their own scale, 0 to 1; NaN for one that is not there or no longer in the space."""
    return np.array(dimension.units(values), dtype=np.float64)


def unit_ticks(dimension: Dimension) -> tuple[list[float], list[str]]:
    """Places and labels of the ticks of a hyperparameter's axis."""
    values = _tick_values(dimension)
    return dimension.units(values), [_label(v) for v in values]


def _tick_values(dimension: Dimension) -> Sequence[ParamValue]:
    if dimension.kind == "categorical":
        return dimension.choices if len(dimension.choices) <= 12 else dimension.choices[:: len(dimension.choices) // 8]
    low, high = dimension.low, dimension.high
    match dimension.scale:
        case "log" if dimension.kind == "int" and high < 1000 * low:
            candidates = [2.0**e for e in range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)]
        case "log":
            candidates = _decades(low, high)
        case "log1m":
            candidates = [0.0, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999]
        case _:
            candidates = [
                float(t) for t in MaxNLocator(nbins=5, integer=dimension.kind == "int").tick_values(low, high)
            ]
    inside = [v for v in candidates if low <= v <= high] or [low, high]
    return [int(v) for v in inside] if dimension.kind == "int" else inside


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1,) if last - first > 3 else (1, 3) if last - first > 1 else (1, 2, 5)
    every = max(1, (last - first) // 6)
    return [s * 10.0**e for e in range(first, last + 1, every) for s in steps]


def _label(value: ParamValue) -> str:
    if isinstance(value, float) and value != 0 and (value < 1e-3 or value >= 1e5):
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return short(f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value), 12)


def set_unit_axis(axes: Axes, dimension: Dimension) -> None:
    """Make the x axis that of a hyperparameter, whose values are drawn at their `places`."""
    places, labels = unit_ticks(dimension)
    axes.set_xticks(places, labels)
    axes.set_xlim(-0.04, 1.04)
    axes.set_xlabel(short(dimension.name, 40))


def metric_limits(values: Sequence[float], *, direction: Direction) -> tuple[float, float]:
    """Limits of a metric's axis that show the good trials; the worst may fall outside."""
    sign = direction.sign
    ordered = np.sort(sign * np.array([v for v in values if math.isfinite(v)]))
    if len(ordered) == 0:
        return 0.0, 1.0
    best, middle = float(ordered[-1]), float(np.median(ordered))
    worst = max(float(ordered[0]), middle - 2.5 * (best - middle))
    if best - worst < 0.02 * (best - ordered[0]):  # most of them reach the best
        worst = float(np.quantile(ordered, 0.05))
    pad = max(0.06 * (best - worst), abs(best) * 1e-3, 1e-9)
    low, high = sorted((sign * (worst - pad), sign * (best + pad)))
    # A share has no room above 1.
    return low, min(high, 1.0 + 0.02 * (1.0 - low)) if float((sign * ordered).max()) <= 1.0 else high


def clip_to(values: Array, limits: tuple[float, float]) -> Array:
    """The values, those outside drawn on the edge."""
    low, high = limits
    pad = 0.015 * (high - low)
    return np.clip(values, low + pad, high - pad)


def scatter_by_tier(axes: Axes, records: Sequence[TrialRecord], x: Array, y: Array) -> None:
    """One series for each part of the search, with its colour and marker; many points become a picture."""
    for tier in tier_order(r.tier for r in records):
        chosen = np.array([r.tier == tier for r in records])
        colour, marker = tier_style(tier)
        axes.scatter(
            x[chosen],
            y[chosen],
            s=16 if len(records) <= 200 else 7,
            c=colour,
            marker=marker,
            alpha=0.8,
            linewidths=0,
            label=short(tier or "trials"),
            rasterized=len(records) > 200,
        )
