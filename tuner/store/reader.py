"""Reading a study without owning it: during a run, from a read-only disk, without SQLAlchemy for SQLite."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tuner.records import Direction, Json, TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyData:
    """A study as it stands in its database."""

    name: str
    direction: Direction
    metric: str
    """Name of the objective's dev metric; `value` for a study that tuner did not make."""
    records: tuple[TrialRecord, ...]
    finalists: tuple[TrialRecord, ...]
    """Re-trainings of the best trials on fresh seeds, from the sibling study `<name>/finalists`; each has
    facts["repeat_of"], the trial that it repeats."""
    facts: Mapping[str, Json]
    """The study's facts by key: `sweep` (the sweep file's values), `versions`, `data`, `tests`, ..."""
