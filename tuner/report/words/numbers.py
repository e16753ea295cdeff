"""How numbers are written for people: as many digits as mean something."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tuner.spec.known.metrics import SHARES

_WHOLE, _WORDY = 1e4, 1e8
"""Values between them are written as whole numbers, where four digits would need a power of ten."""


def metric_text(value: float | None, *, metric: str) -> str:
    """A metric's value: four decimals for those between 0 and 1, four significant digits for others, at least."""
    if value is None or math.isnan(value):
        return "–"
    if metric in SHARES:
        return f"{value:.4f}"
    return f"{value:.0f}" if _WHOLE <= abs(value) < _WORDY else f"{value:.4g}"


def trials_text(numbers: Sequence[int]) -> str:
    """What predicts: `trial 3`, or `the mean of trials 3, 1 and 2`."""
    *most, last = map(str, numbers)
    return f"the mean of trials {', '.join(most)} and {last}" if most else f"trial {last}"


def objective_text(name: str, value: float) -> str:
    """A further objective with its unit: 8970 parameters, 1.21 ms, f1 0.9713."""
    match name:
        case "parameters" | "flops":
            return f"{count_text(value)} {name}"
        case "latency_ms":
            return f"{value:.3g} ms"
        case _:
            return f"{name} {metric_text(value, metric=name)}"


def difference_text(value: float, *, metric: str) -> str:
    """A difference of two metrics: in percentage points where the metric is a share."""
    if metric not in SHARES:
        return f"{value:.3g}"
    points = 100 * value
    return f"{points:.1f} points" if abs(points) >= 0.1 or points == 0 else f"{points:.1g} points"


def value_text(value: object) -> str:
    """A hyperparameter's value, or any other cell."""
    match value:
        case None:
            return "–"
        case bool():
            return str(value).lower()
        case float() if math.isnan(value):
            return "–"
        case float():
            return f"{value:.4g}"
        case _:
            return str(value)


def count_text(value: float) -> str:
    """A large count in few characters: 950, 12.3k, 4.5M."""
    for limit, divisor, unit in ((1e4, 1, ""), (1e6, 1e3, "k"), (1e9, 1e6, "M"), (math.inf, 1e9, "G")):
        if abs(value) < limit:
            return f"{value:.0f}" if divisor == 1 else f"{value / divisor:.3g}{unit}"
    raise AssertionError("unreachable")


def number_of(count: int, noun: str) -> str:
    """A count and what is counted: 1 trial, 2 trials."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def moment_text(stamp: str) -> str:
    """A moment of ISO 8601 in UTC, to the second: 2026-01-31 12:30:05 UTC."""
    return f"{stamp[:19].replace('T', ' ')} UTC" if stamp else ""


def short_time(seconds: float) -> str:
    """What is left of a time, as roughly as it is known: 95 s, 22 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def duration_text(seconds: float) -> str:
    """Seconds as people say them: 0.35 s, 12.1 s, 4 min 10 s, 2 h 5 min."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
