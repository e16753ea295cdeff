"""The table of trials in the HTML report: which columns, in which groups, and each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from tuner.report.analysis import Analysis
from tuner.report.tables.formats import cell_text, cells_of
from tuner.report.tables.leaderboard import column_of
from tuner.spec.space import tier_label

_MAX_RANKED = 250
_MAX_APART = 100
"""More rows than this would make the page slow; the CSV has all."""


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    group: int
    numeric: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Columns that are shown or hidden together."""

    name: str
    shown: bool


@dataclass(frozen=True, slots=True)
class Row:
    kind: str
    """`best`, `tie`, `apart` or nothing."""
    cells: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    columns: Sequence[Column]
    groups: Sequence[Group]
    rows: Sequence[Row]
    note: str


def page_table(analysis: Analysis) -> Table:
    """The leaderboard for the page: at most `_MAX_RANKED` ranked trials, then `_MAX_APART` others."""
    frame = analysis.frame
    ranked = frame[frame["rank"].notna()].head(_MAX_RANKED)
    apart = frame[frame["rank"].isna()].head(_MAX_APART)
    shown = pd.concat([ranked, apart]) if len(apart) else ranked
    grouped = _grouped_columns(analysis, [str(c) for c in frame.columns])
    names = [name for _, members in grouped for name in members]
    columns = [
        Column(name, group, pd.api.types.is_numeric_dtype(frame[name]))
        for group, (_, members) in enumerate(grouped)
        for name in members
    ]
    metric = analysis.study.metric
    found = cells_of(shown[names])
    cells = {n: [cell_text(c, column=n, metric=metric) for c in found[n]] for n in names}
    ties = shown["tie"].tolist()
    ranks = shown["rank"].tolist()
    rows = [Row(_kind(ranks[i], ties[i]), [cells[n][i] for n in names]) for i in range(len(shown))]
    groups = [Group(name, shown=name not in ("Diagnosis", "More")) for name, _ in grouped]
    return Table(columns, groups, rows, _note(len(shown), len(frame)))


def _grouped_columns(analysis: Analysis, names: Sequence[str]) -> list[tuple[str, list[str]]]:
    metric = analysis.study.metric
    noted = [n for n in names if n == "note"]
    result = ["rank", "trial", *noted, f"dev_{metric}", "ci_low", "ci_high", f"train_{metric}", "gap"]
    cost = ["parameters", "best_epoch", "epochs", "seconds"]
    diagnosis = ["verdict", "flags"]
    traded = {"front", "violation", *map(column_of, _measured(analysis))}
    trade = [n for n in names if n in traded]
    more = ["state", "tier", "seed", f"last_dev_{metric}", "reason"]
    fixed = {*trade, *result, *cost, *diagnosis, *more, "tie"}
    tiers = {d.name: d.tier for d in analysis.space}
    by_tier: dict[str, list[str]] = {}
    for name in names:
        if name not in fixed:
            tier = tiers.get(name.removeprefix("params."))
            title = "Others" if tier is None else tier_label(tier).capitalize()
            by_tier.setdefault(title, []).append(name)
    trade_off = [("Trade-off", trade)] if trade else []
    return [("Result", result), *trade_off, *by_tier.items(), ("Cost", cost), ("Diagnosis", diagnosis), ("More", more)]


def _measured(analysis: Analysis) -> set[str]:
    return {name for record in analysis.study.records for name in record.objectives}


def _kind(rank: object, tie: str) -> str:
    if rank is pd.NA or rank is None:
        return "apart"
    return "best" if rank == 1 else "tie" if tie else ""


def _note(shown: int, total: int) -> str:
    said = "A mark at the left: it cannot be told from the best. Trials without a rank did not finish."
    return said if shown == total else f"{said} {shown} of {total} trials are shown; leaderboard.csv has all."
