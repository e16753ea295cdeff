"""Axes of hyperparameters and of metrics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuner.records import Direction, ParamValue
from tuner.report.figures.chart import Axis
from tuner.report.figures.palette import short
from tuner.spec.space import Dimension

Array = NDArray[np.float64]


def places(dimension: Dimension, values: Sequence[ParamValue | None]) -> Array:
    """Where values lie on their own scale, 0 to 1; NaN for one that is not there or no longer in the space."""
    return np.array(dimension.units(values), dtype=np.float64)


def unit_ticks(dimension: Dimension) -> tuple[tuple[float, str], ...]:
    """Places and labels of the ticks of a hyperparameter's axis."""
    values = _tick_values(dimension)
    return tuple(zip(dimension.units(values), map(_label, values), strict=True))


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
            candidates = even_ticks(low, high, integer=dimension.kind == "int")
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


def even_ticks(low: float, high: float, *, integer: bool = False) -> list[float]:
    """At most six round numbers, equally far apart, within the limits."""
    rough = max((high - low) / 5, 1e-300)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * digit for digit in (1, 2, 2.5, 5, 10) if power * digit >= 0.999 * rough)
    if integer:
        step = max(1.0, math.ceil(step - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def unit_axis(dimension: Dimension) -> Axis:
    """The axis of a hyperparameter, whose values are drawn at their `places`."""
    return Axis(label=short(dimension.name, 40), limits=(-0.04, 1.04), ticks=unit_ticks(dimension))


def row_axis(names: Sequence[str], *, room: float = 0.6) -> Axis:
    """The axis of rows of bars or intervals, the first on top, at the places of `rows_of`."""
    ticks = tuple(zip(rows_of(names), names, strict=True))
    return Axis(limits=(-room, len(names) - 1 + room), ticks=ticks, grid=False)


def rows_of(things: Sequence[object]) -> list[float]:
    """The place of each thing that has a row."""
    return [float(len(things) - 1 - row) for row in range(len(things))]


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


def metric_axis(values: Sequence[float], *, direction: Direction, label: str) -> Axis:
    """The axis of a metric that shows the good trials."""
    return Axis(label=label, limits=metric_limits(values, direction=direction))


def span_axis(values: Sequence[float], *, label: str) -> Axis:
    """An axis that shows all values."""
    finite = [v for v in values if math.isfinite(v)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    pad = 0.05 * (high - low) or 1e-3 * abs(high) or 1e-3
    return Axis(label=label, limits=(low - pad, high + pad))
