"""The Pareto front: the dev metric against each further objective."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tuner.records import Direction
from tuner.report.analysis import Analysis
from tuner.report.figures.axes import clip_to, metric_limits
from tuner.report.figures.style import BLUE, GREY, INK, ORANGE, RED, new_figure
from tuner.spec.objectives import Objective


def pareto(analysis: Analysis, objective: Objective) -> Figure | None:
    """Every trial by its dev metric and one further objective; the front with its intervals."""
    front, study = analysis.front, analysis.study
    if front is None:
        return None
    shown = [
        r for r in study.records if r.value is not None and np.isfinite(r.value) and objective.name in r.objectives
    ]
    x = np.array([r.objectives[objective.name] for r in shown], dtype=np.float64)
    y = np.array([r.value for r in shown], dtype=np.float64)
    limits = metric_limits([r.value for r in analysis.statistics.ranked if r.value is not None] or y.tolist(),
                           direction=study.direction)  # fmt: skip
    figure = new_figure(height_inches=3.0)
    axes = figure.add_subplot()
    numbers = front.numbers
    possible = {r.number for r in front.may_belong}
    kinds = np.array([_kind(r.number, r.violation, numbers, possible) for r in shown])
    for kind, colour, marker, size in (
        ("other trials", GREY, "o", 12), ("breaks a constraint", RED, "x", 18), ("may belong", ORANGE, "o", 20),
    ):  # fmt: skip
        chosen = kinds == kind
        if chosen.any():
            axes.scatter(x[chosen], clip_to(y[chosen], limits), s=size, c=colour, marker=marker, label=kind, alpha=0.85)
    members = sorted((m.record for m in front.members), key=lambda r: r.objectives[objective.name])
    places = [r.objectives[objective.name] for r in members]
    values = [r.value for r in members if r.value is not None]
    if len(front.objectives) == 1:
        axes.step(places, values, where="post" if objective.direction is Direction.MINIMIZE else "pre", color=INK,
                  linewidth=0.9)  # fmt: skip
    for record, place in zip(members, places, strict=True):
        interval = analysis.statistics.intervals.get(record.number)
        if interval is not None:
            axes.plot([place, place], [interval.low, interval.high], color=BLUE, linewidth=1.0, alpha=0.6)
    axes.scatter(places, values, s=26, c=BLUE, label="front", zorder=3)
    if objective.is_cost and len(x) and x.min() > 0:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.minorticks_off()
    axes.set_ylim(limits)
    axes.set_xlabel(objective.name)
    axes.set_ylabel(f"dev {study.metric}")
    axes.legend(loc="best", handletextpad=0.2)
    return figure


def _kind(number: int, violation: float, front: frozenset[int], possible: set[int]) -> str:
    if number in front:
        return "front"
    return "breaks a constraint" if violation > 0 else "may belong" if number in possible else "other trials"
