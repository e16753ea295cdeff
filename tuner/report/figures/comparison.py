"""The figure of `tuner compare`: two studies' best against the epochs spent, or two trials' curves."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from tuner.report.compare import Side, epochs_and_best
from tuner.report.curves import read_curves
from tuner.report.figures.axes import metric_limits
from tuner.report.figures.palette import BLUE, ORANGE, short
from tuner.report.figures.style import lay_out, new_figure, styled


def comparison(a: Side, b: Side) -> Figure:
    """Draw both sides in one figure."""
    with styled():
        figure = new_figure()
        axes = figure.add_subplot()
        seen: list[float] = []
        for one, colour, dashes in ((a, BLUE, (None, None)), (b, ORANGE, (4, 1.5))):
            x, y = epochs_and_best(one) if one.whole_study else _learning_curve(one)
            axes.plot(x, y, color=colour, dashes=dashes, drawstyle="steps-post" if one.whole_study else "default")
            axes.plot([], [], color=colour, dashes=dashes, label=short(one.name, 40))
            seen += [v for v in y if np.isfinite(v)]
        metric = a.analysis.study.metric
        axes.set_ylim(metric_limits(seen, direction=a.analysis.study.direction))
        axes.set_xlabel("epochs of all trials" if a.whole_study and b.whole_study else "epoch")
        axes.set_ylabel(f"best dev {metric}" if a.whole_study and b.whole_study else f"dev {metric}")
        axes.legend(loc="best")
        lay_out(figure)
    return figure


def _learning_curve(one: Side) -> tuple[list[int], list[float]]:
    curves = read_curves([one.record], paths=one.analysis.paths)
    curve = curves.get(one.record.number, ())
    return [e.epoch for e in curve], [e.dev_metric for e in curve]
