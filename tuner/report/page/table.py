"""The table of trials in the page: which columns, in which groups, and each cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.ranking import rank_trials, trials_apart
from tuner.records import Json, TrialRecord
from tuner.report.analysis import Analysis
from tuner.report.tables.formats import cell_text
from tuner.report.tables.leaderboard import LeaderboardColumns, TrialNote, column_of
from tuner.report.words.escape import visible
from tuner.spec.space import tier_label

_HIDDEN = ("Diagnosis", "More")
"""Groups of columns that are not shown at first."""
_NOT_BRIEF = ("Cost", "Diagnosis", "More")
TABLE_NOTE = "A mark at the left: it cannot be told from the best. Trials without a rank did not finish."
Notes = Mapping[int, TrialNote]


@dataclass(frozen=True, slots=True)
class PageTable:
    """The columns of the page's table, the rank first, which the page itself works out from the order."""

    groups: Sequence[tuple[str, Sequence[str]]]
    names: Sequence[str]
    """Of all columns, in the order of their groups."""
    columns: LeaderboardColumns
    metric: str

    @classmethod
    def of(cls, analysis: Analysis) -> PageTable:
        columns = LeaderboardColumns.of(analysis.study)
        groups = _grouped_columns(analysis, columns.names(with_notes=True))
        return cls(groups, [name for _, names in groups for name in names], columns, analysis.study.metric)

    def cells(self, record: TrialRecord, note: TrialNote | None) -> list[str]:
        """A trial's row, without its rank."""
        row = self.columns.row(record, rank=None, note=note)
        return [cell_text(row[name], column=name, metric=self.metric) for name in self.names[1:]]

    def numeric(self, rows: Sequence[Sequence[str]]) -> list[bool]:
        """Of each column but the rank, whether these rows hold numbers alone."""
        return [all(is_number(row[place]) for row in rows) for place in range(len(self.names) - 1)]

    def head(self, numeric: Sequence[bool]) -> dict[str, Json]:
        """The columns as the page has them.

        Args:
            numeric: See there.
        """
        group_of = {name: number for number, (_, names) in enumerate(self.groups) for name in names}
        brief = {name for title, names in self.groups if title not in _NOT_BRIEF for name in names}
        columns = [
            {"name": visible(n), "group": group_of[n], "numeric": is_numeric, "brief": n in brief - {"rank", "trial"}}
            for n, is_numeric in zip(self.names, [True, *numeric], strict=True)
        ]
        groups = [{"name": visible(title), "shown": title not in _HIDDEN} for title, _ in self.groups]
        return {"columns": columns, "groups": groups}


def order_of(analysis: Analysis) -> dict[str, Json]:
    """The numbers of all trials, the ranked ones first, and how many these are."""
    records, direction = analysis.study.records, analysis.study.direction
    ranked = rank_trials(records, direction=direction)
    apart = trials_apart(records, direction=direction)
    return {"order": [r.number for r in (*ranked, *apart)], "ranked": len(ranked)}


def is_number(text: str) -> bool:
    """Whether a cell holds a number, or nothing."""
    if not text:
        return True
    try:
        float(text)
    except ValueError:
        return text == "–"
    return True


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
