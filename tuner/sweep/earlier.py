"""What an earlier study found, as the new one may use it: `search.warm_start`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.data.identity import what_differs
from tuner.errors import StudyMismatchError
from tuner.paths import StudyPaths
from tuner.records import Json, Params, TrialRecord, TrialState
from tuner.spec.model import SweepSpec
from tuner.spec.space import Space

if TYPE_CHECKING:
    from tuner.store.study_data import StudyData


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlierTrials:
    """Trials of an earlier study, with the parameters of the new one's space."""

    study: str
    records: tuple[TrialRecord, ...]
    outside: int
    """How many more there were, outside the space of now."""

    @property
    def line(self) -> str:
        """What to tell the user."""
        outside = f"; {self.outside} more lie outside this space" if self.outside else ""
        return f'the search learns from {len(self.records)} trials of study "{self.study}"{outside}'


def earlier_trials(
    spec: SweepSpec, space: Space, data: Mapping[str, Json], *, results: Path, store_url: str | None
) -> EarlierTrials | None:
    """The trials of the study that `search.warm_start` names; None where it names none.

    Args:
        spec: The sweep file.
        space: Its search space.
        data: Facts of its data.
        results: Folder of all studies.
        store_url: The database of the studies, if it is not `study.db` in their folders.

    Raises:
        StudyNotFoundError: there is no such study.
        StudyMismatchError: its trials were measured or trained in another way, so that they say nothing here.
    """
    from tuner.store.reader import read_study

    given = spec.search.warm_start
    if given is None:
        return None
    folder = Path(spec.root) / given
    if not StudyPaths(folder).database.exists():
        folder = results / given
    study = read_study(StudyPaths(folder.resolve()), study=folder.resolve().name, url=store_url)
    old = _comparable(study, spec, data)
    # One that still runs would teach something else at each restart.
    mapped = [(r, _within(space, spec, old, r.params)) for r in study.records if r.state is not TrialState.RUNNING]
    records = tuple(replace(record, params=params) for record, params in mapped if params is not None)
    return EarlierTrials(study=study.name, records=records, outside=len(mapped) - len(records))


def breaking_changes(snapshot: Json, spec: SweepSpec, before: Json, data: Mapping[str, Json]) -> list[str]:
    """What makes trials of a study incomparable with those of this sweep file and its data, a line each.

    Args:
        snapshot: The sweep file's values that the study was run with.
        spec: The sweep file of now.
        before: Facts of the study's data.
        data: Facts of the data of now.
    """
    from tuner.spec.kept.changes import diff_sweeps

    changes = [change.line for change in diff_sweeps(snapshot, spec) if change.breaks]
    return [*changes, *what_differs(before, data)]


def _comparable(study: StudyData, spec: SweepSpec, data: Mapping[str, Json]) -> SweepSpec:
    """The earlier study's sweep file, if its trials can be compared with new ones; its space may be another."""
    from tuner.store.study_data import sweep_of

    snapshot = study.facts.get("sweep")
    if snapshot is None:
        raise StudyMismatchError(f'search.warm_start: study "{study.name}" was not made by tuner')
    changes = breaking_changes(snapshot, spec, study.facts.get("data"), data)
    changes = [line for line in changes if not line.startswith("space.")]
    if changes:
        listed = "\n".join(f"  {line}" for line in changes)
        raise StudyMismatchError(
            f'search.warm_start: what study "{study.name}" measured says nothing of this sweep:\n{listed}\n'
            "list its best configurations under `search.start:` instead; `tuner best` prints them"
        )
    return sweep_of(study)


def _within(space: Space, spec: SweepSpec, old: SweepSpec, params: Params) -> Params | None:
    """A trial's parameters in this space, if it could have been trained here: what was fixed may be searched now."""
    from tuner.spec.defaults import settings_for

    values = settings_for(old, params)
    completed = space.complete({name: values[name] for name in space.names if name in values})
    if not space.contains(completed) or any(completed[name] != values.get(name) for name in completed):
        return None
    now = settings_for(spec, completed)
    apart = {*values, *now}.difference(space.names)
    return completed if all(values.get(name) == now.get(name) for name in apart) else None
