"""The tables of the page's section on the best trials: the Pareto front, baselines, finalists."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from tuner.diagnose.intervals import Interval
from tuner.report.analysis import Analysis
from tuner.report.certainty.groups import FEWEST
from tuner.report.words.numbers import difference_text, duration_text, metric_text, objective_text, value_text

_SPOKEN = {"loss": "Log loss", "brier": "Brier score", "auroc": "AUROC", "average_precision": "Average precision"}
_MOST_CLASSES = 30
_MOST_WORST = 10
"""Rows of the tables of mistakes; the files have more."""


def finalist_rows(analysis: Analysis) -> Iterable[dict[str, object]]:
    """The finalists, as texts by column."""
    finals, metric = analysis.finals, analysis.study.metric
    if finals is None:
        return
    for finalist in finals.finalists:
        yield {
            "trial": finalist.record.number,
            "search": metric_text(finalist.search_value, metric=metric),
            "mean": metric_text(finalist.mean, metric=metric),
            "interval": _range_text(finalist.interval, metric),
            "spread": metric_text(finalist.sd, metric=metric),
            "each_seed": ", ".join(metric_text(v, metric=metric) for v in finalist.values),
            "verdict": "chosen" if finalist is finals.winner else "may be as good" if finalist.tied else "worse",
            "chosen": finalist is finals.winner,
        }


def front_table(analysis: Analysis) -> dict[str, Any] | None:
    """The Pareto front as a table: its columns and its rows."""
    front, metric = analysis.front, analysis.study.metric
    if front is None:
        return None
    sure = {True: "yes", False: "cannot be told", None: "–"}
    rows = []
    for member in front.members:
        record = member.record
        interval = analysis.statistics.intervals.get(record.number)
        rows.append(
            [
                record.number,
                metric_text(record.value, metric=metric),
                _range_text(interval, metric),
                *(objective_text(o.name, record.objectives[o.name]) for o in front.objectives),
                "–" if member.lead is None else difference_text(member.lead, metric=metric),
                sure[member.is_sure],
            ]
        )
    names = [f"dev {metric}", "95 % interval", *(o.name for o in front.objectives)]
    return {"columns": ["trial", *names, "lead over the next", "a real lead?"], "rows": rows}


def baseline_rows(analysis: Analysis) -> Iterable[dict[str, str]]:
    """The baselines, as texts by column."""
    metric = analysis.study.metric
    for one in analysis.baselines:
        yield {
            "name": one.name,
            "value": metric_text(one.value, metric=metric),
            "interval": _range_text(one.interval, metric),
            "lead": "–" if one.lead is None else difference_text(one.lead, metric=metric),
            "lead_interval": "–" if one.lead_interval is None else " to ".join(
                difference_text(end, metric=metric) for end in (one.lead_interval.low, one.lead_interval.high)
            ),
            "standing": one.standing,
            "examples": f"{one.examples:,}",
            "seconds": duration_text(one.seconds),
        }  # fmt: skip


def learning_curve_rows(analysis: Analysis) -> Iterable[dict[str, object]]:
    """The points of the learning curve, as texts by column."""
    found, metric = analysis.learning_curve, analysis.study.metric
    for point in found.points if found is not None else ():
        yield {
            "share": f"{100 * point.share:g} %",
            "examples": f"{point.examples:,}",
            "mean": metric_text(point.mean, metric=metric),
            "interval": _range_text(point.interval, metric),
            "train": metric_text(point.train, metric=metric),
            "each_seed": ", ".join(metric_text(v, metric=metric) for v in point.values),
        }


def _range_text(interval: Interval | None, metric: str) -> str:
    if interval is None:
        return "–"
    return f"{metric_text(interval.low, metric=metric)} to {metric_text(interval.high, metric=metric)}"


def mistake_tables(analysis: Analysis) -> Iterable[dict[str, Any]]:
    """What the best trial gets wrong: tables of groups, of classes and of the worst examples."""
    for groups in analysis.groups:
        of = f"trial {groups.mistakes.trial}, {groups.mistakes.part} set"
        yield _table(f"Scores by group: {of}", groups.table(), note=f"A group of under {FEWEST} examples has no score.")
    for found in analysis.mistakes:
        kind = "classes" if found.is_classes else "labels" if found.is_labels else "targets"
        of = f"trial {found.trial}, {found.part} set"
        said = ""
        if found.is_classes or found.is_labels:
            said = f"Expected calibration error: {100 * found.calibration_error():.1f} %."
            said += "".join(
                f" {_SPOKEN[name]}: {metric_text(value, metric=name)}." for name, value in found.scores().items()
            )
        yield _table(f"The {kind}: {of}", found.classes().head(_MOST_CLASSES), note=said)
        yield _table(f"The worst examples: {of}", found.worst().head(_MOST_WORST), note=f"All: mistakes/{found.part}/.")


def _table(title: str, frame: pd.DataFrame, *, note: str) -> dict[str, Any]:
    return {
        "title": title,
        "columns": [str(column) for column in frame.columns],
        "rows": [[value_text(cell) for cell in row] for row in frame.itertuples(index=False)],
        "note": note,
    }
