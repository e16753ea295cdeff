"""The Pareto front: the dev metric against each further objective."""

from __future__ import annotations

import numpy as np

from tuner.records import Direction, TrialRecord
from tuner.report.analysis import Analysis
from tuner.report.figures.axes import metric_axis
from tuner.report.figures.chart import Axis, Chart, Line, Mark, Points, Segments
from tuner.report.figures.palette import BLUE, GREY, INK, ORANGE, RED
from tuner.report.words.numbers import metric_text, objective_text
from tuner.spec.objectives import Objective


def pareto(analysis: Analysis, objective: Objective) -> Chart | None:
    """Every trial by its dev metric and one further objective; the front with its intervals."""
    front, study = analysis.front, analysis.study
    if front is None:
        return None
    shown = [
        r for r in study.records if r.value is not None and np.isfinite(r.value) and objective.name in r.objectives
    ]
    possible = {r.number for r in front.may_belong}
    marks: list[Mark] = []
    for kind, colour, shape, size in (
        ("other trials", GREY, "o", 3.5), ("breaks a constraint", RED, "x", 4.2), ("may belong", ORANGE, "o", 4.5),
    ):  # fmt: skip
        chosen = [r for r in shown if _kind(r.number, r.violation, front.numbers, possible) == kind]
        if chosen:
            marks.append(_points(analysis, objective, chosen, colour, shape, size, kind, 0.85))
    members = sorted((m.record for m in front.members), key=lambda r: r.objectives[objective.name])
    x, y = [r.objectives[objective.name] for r in members], [r.value for r in members if r.value is not None]
    if len(front.objectives) == 1:
        falling = objective.direction is Direction.MINIMIZE
        marks.append(Line(x=x, y=y, step="post" if falling else "pre", colour=INK, width=0.9))
    known = [
        (r.objectives[objective.name], i)
        for r in members
        if (i := analysis.statistics.intervals.get(r.number)) is not None
    ]
    at = [place for place, _ in known]
    marks.append(Segments(x0=at, x1=at, y0=[i.low for _, i in known], y1=[i.high for _, i in known], colour=BLUE))
    marks.append(_points(analysis, objective, members, BLUE, "o", 5.1, "front", 1.0))
    good = [r.value for r in analysis.statistics.ranked if r.value is not None]
    measured = [r.objectives[objective.name] for r in shown] or [0.0]
    return Chart(
        x=_axis(objective, measured),
        y=metric_axis(good or [r.value for r in shown if r.value is not None], direction=study.direction,
                      label=f"dev {study.metric}"),
        marks=tuple(marks),
        height=3.0,
    )  # fmt: skip


def _points(
    analysis: Analysis, objective: Objective, records: list[TrialRecord], colour: str, shape: str, size: float,
    label: str, alpha: float,
) -> Points:  # fmt: skip
    x, y = [r.objectives[objective.name] for r in records], [r.value for r in records if r.value is not None]
    metric = analysis.study.metric
    tips = [
        f"{label}: {metric_text(value, metric=metric)}, {objective.name} {objective_text(objective.name, cost)}"
        for cost, value in zip(x, y, strict=True)
    ]
    return Points(
        x=x, y=y, colour=colour, shape="x" if shape == "x" else "o", sizes=size, label=label, alpha=alpha,
        trials=[r.number for r in records], tips=tips,
    )  # fmt: skip


def _axis(objective: Objective, values: list[float]) -> Axis:
    finite = [v for v in values if np.isfinite(v)] or [0.0]
    low, high = min(finite), max(finite)
    if objective.is_cost and low > 0:
        return Axis(label=objective.name, limits=(low / 1.15, high * 1.15), scale="log")
    pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(label=objective.name, limits=(low - pad, high + pad))


def _kind(number: int, violation: float, front: frozenset[int], possible: set[int]) -> str:
    if number in front:
        return "front"
    return "breaks a constraint" if violation > 0 else "may belong" if number in possible else "other trials"
