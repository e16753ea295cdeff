"""How far a study has come: what is left of it, why its search ended, and why its last run stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Self, get_args

from tuner.records import Json, TrialRecord, TrialState

if TYPE_CHECKING:
    from tuner.store.study_data import StudyData

STANDING = "standing"
"""The fact of a study that holds its `Standing`."""
Stage = Literal["search", "finalists", "done"]
"""What is under way, or left: the search, the finalists' re-trainings, nothing."""
_StudyState = Literal["running", "interrupted", "stopped", "finished"]
"""A process runs it; trials wait on their way; trials, or finalists, are yet to be begun; all is done."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """What its runs have noted of a study."""

    stage: Stage = "search"
    search_end: str = ""
    """Why the search ended, in words; empty before."""
    stop: str = ""
    """Why the last run ended before all was done, in words; empty for one that was killed."""

    @classmethod
    def of(cls, facts: Mapping[str, Json]) -> Self | None:
        """What a study's facts say; None if they say nothing that we can read."""
        found = facts.get(STANDING)
        if not isinstance(found, Mapping) or found.get("stage") not in get_args(Stage):
            return None
        return cls(stage=found["stage"], search_end=str(found.get("search_end", "")), stop=str(found.get("stop", "")))

    def to_json(self) -> Json:
        return asdict(self)


def state_of(study: StudyData) -> tuple[_StudyState, str]:
    """How a study stands, and why, in words; the words are empty where nobody has noted them."""
    standing = Standing.of(study.facts)
    stop = standing.stop if standing else ""
    if study.lease is not None and study.lease.alive:
        return "running", ""
    if any(not record.state.final for record in (*study.records, *study.finalists)):
        if not stop and study.lease is not None:
            stop = f"process {study.lease.pid} on {study.lease.host} ended without a word"
        return "interrupted", stop
    if standing is not None:
        return ("finished", standing.search_end) if standing.stage == "done" else ("stopped", stop)
    total = total_trials(study.facts)
    if not study.records or len(study.records) < (total or 0) or len(study.finalists) < total_finalists(study):
        return "stopped", ""
    return "finished", ""


def what_is_left(study: StudyData) -> str:
    """What the next run of a study that is not finished would do."""
    standing = Standing.of(study.facts)
    if standing is not None and standing.stage == "finalists":
        done = sum(record.state.final for record in study.finalists)
        return f"trains the finalists that are left, {done} of {total_finalists(study)} are done"
    if any(not record.state.final for record in study.records):
        return "goes on from the last checkpoints"
    return "runs the trials that are left"


def total_trials(facts: Mapping[str, Json]) -> int | None:
    """The number of trials that the sweep asks for, if that is known."""
    return _number(facts, "search", "trials")


def total_finalists(study: StudyData) -> int:
    """How many re-trainings of finalists the sweep asks for; 0 if none."""
    count, seeds = _number(study.facts, "finalists", "count"), _number(study.facts, "finalists", "seeds")
    return min(count or 0, _num_complete(study.records)) * (seeds or 0)


def _num_complete(records: Sequence[TrialRecord]) -> int:
    return sum(record.state is TrialState.COMPLETE for record in records)


def _number(facts: Mapping[str, Json], block: str, key: str) -> int | None:
    sweep = facts.get("sweep")
    values = sweep.get(block) if isinstance(sweep, Mapping) else None
    found = values.get(key) if isinstance(values, Mapping) else None
    return found if isinstance(found, int) else None
