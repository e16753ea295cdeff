"""The ranked table of a study, as a DataFrame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from tuner.ranking import rank_trials, trials_apart
from tuner.records import Direction, TrialRecord
from tuner.report.facts import sweep_value
from tuner.report.space import shown_params
from tuner.report.words.escape import characters
from tuner.spec.known.metrics import COSTS
from tuner.store.notes import notes_in_words
from tuner.store.study_data import StudyData


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialNote:
    """What the statistics say of one trial: the columns after `reason`."""

    ci_low: float | None = None
    ci_high: float | None = None
    tie: bool = False
    """Whether it cannot be told from the best."""
    verdict: str = ""
    flags: Sequence[str] = ()
    front: str = ""
    """`yes` on the Pareto front, `maybe` where noise may have pushed it off."""


def leaderboard(study: StudyData, *, notes: Mapping[int, TrialNote] | None = None) -> pd.DataFrame:
    """One row for each trial: the finished ones ranked, then the others with an empty rank.

    Columns: `rank, trial, state, dev_<metric>, train_<metric>, gap`, the hyperparameters in tier order,
    `parameters, best_epoch, epochs, seconds, reason`, then `tier, seed, last_dev_<metric>` and, with `notes`,
    `ci_low, ci_high, tie, verdict, flags`; then what was measured for further objectives and constraints, and with
    several objectives `front`, with constraints `violation`; then
    `note`, if there are any of trials. A hyperparameter that has the name of another column is
    called `params.<name>`. `gap` is by how much the dev metric is worse than the training metric.
    """
    ranked = rank_trials(study.records, direction=study.direction)
    apart = trials_apart(study.records, direction=study.direction)
    columns = LeaderboardColumns.of(study)
    rows = [columns.row(r, rank=i, note=(notes or {}).get(r.number)) for i, r in enumerate(ranked, start=1)]
    rows += [columns.row(r, rank=None, note=(notes or {}).get(r.number)) for r in apart]
    names = [characters(name) for name in columns.names(with_notes=notes is not None)]
    texts = [
        {characters(n): characters(cell) if isinstance(cell, str) else cell for n, cell in row.items()} for row in rows
    ]
    frame = pd.DataFrame.from_records(texts, columns=names)
    integers = ["rank", "trial", "parameters", "best_epoch", "epochs", "seed"]
    return frame.astype(dict.fromkeys(integers, "Int64"))


def gap(record: TrialRecord, *, direction: Direction) -> float | None:
    """By how much the dev metric of the best epoch is worse than the training metric; negative if it is better."""
    if record.best is None:
        return None
    return direction.sign * (record.best.train_metric - record.best.dev_metric)


@dataclass(frozen=True, slots=True)
class LeaderboardColumns:
    """What the leaderboard has of each trial: its names, and a row of values."""

    metric: str
    direction: Direction
    params: Mapping[str, str]
    """Hyperparameter -> column."""
    measured: tuple[str, ...] = ()
    """Further objectives and what constraints bound, those that have no column of their own."""
    several: bool = False
    """Whether there are several objectives."""
    constrained: bool = False
    notes: Mapping[int, str] = field(default_factory=dict)
    """What people noted, by trial."""

    @classmethod
    def of(cls, study: StudyData) -> LeaderboardColumns:
        several = bool(sweep_value(study, "objective", "others"))
        constrained = bool(sweep_value(study, "constraints"))
        seen = dict.fromkeys(name for r in study.records for name in r.objectives)
        measured = tuple(name for name in seen if name not in ("parameters", study.metric))
        noted = {n: text for n, text in notes_in_words(study.notes).items() if n is not None}
        bare = cls(study.metric, study.direction, {}, measured, several, constrained, noted)
        taken = set(bare.names(with_notes=True))
        params = {name: f"params.{name}" if name in taken else name for name in shown_params(study)}
        return replace(bare, params=params)

    def names(self, *, with_notes: bool) -> list[str]:
        return [
            *("rank", "trial", "state", f"dev_{self.metric}", f"train_{self.metric}", "gap"),
            *self.params.values(),
            *("parameters", "best_epoch", "epochs", "seconds", "reason"),
            *("tier", "seed", f"last_dev_{self.metric}"),
            *(("ci_low", "ci_high", "tie", "verdict", "flags") if with_notes else ()),
            *(column_of(name) for name in self.measured),
            *(("front",) if self.several and with_notes else ()),
            *(("violation",) if self.constrained else ()),
            *(("note",) if self.notes else ()),
        ]

    def row(self, record: TrialRecord, *, rank: int | None, note: TrialNote | None) -> dict[str, Any]:
        note = note or TrialNote()
        best, last = record.best, record.last
        return {
            "rank": rank,
            "trial": record.number,
            "state": record.state.value,
            f"dev_{self.metric}": best.dev_metric if best else math.nan,
            f"train_{self.metric}": best.train_metric if best else math.nan,
            "gap": _number(gap(record, direction=self.direction)),
            **{column: record.params.get(name) for name, column in self.params.items()},
            "parameters": record.num_parameters or None,
            "best_epoch": best.epoch if best and record.has_epochs else None,
            "epochs": record.epochs if record.has_epochs else None,
            "seconds": round(record.seconds, 3),
            "reason": record.reason,
            "tier": record.tier,
            "seed": record.seed,
            f"last_dev_{self.metric}": last.dev_metric if last else math.nan,
            "ci_low": _number(note.ci_low),
            "ci_high": _number(note.ci_high),
            "tie": "yes" if note.tie else "",
            "verdict": note.verdict,
            "flags": "; ".join(note.flags),
            **{column_of(name): record.objectives.get(name, math.nan) for name in self.measured},
            "front": note.front,
            "violation": record.violation,
            "note": self.notes.get(record.number, ""),
        }


def column_of(measure: str) -> str:
    """The column of a further objective: metrics are of the dev set."""
    return measure if measure in COSTS else f"dev_{measure}"


def _number(value: float | None) -> float:
    return math.nan if value is None else value
