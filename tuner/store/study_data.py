"""A study as it stands in its database, whichever kind that is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import StorageError, StudyNotFoundError, UsageError
from tuner.records import Direction, Json, TrialRecord
from tuner.spec.known.names import STUDY_NAME
from tuner.spec.space import Space
from tuner.store.codec import LEASE_ATTRIBUTE, METRIC_NAMES_ATTRIBUTE, STUDY_ATTRIBUTE, decode, identity_of
from tuner.store.facts import read_facts
from tuner.store.lease import Lease
from tuner.store.notes import Note
from tuner.store.rows import TrialRows, direction_of, records_from_rows
from tuner.store.shapes import StoredValueError, shown_name
from tuner.store.sqlite_file import MEND

if TYPE_CHECKING:
    from tuner.spec.model import SweepSpec

FINALISTS, ON_PARTS = "finalists", "learning-curve"
"""The studies beside one, whose names are its own with these behind it."""
_MOST_LISTED = 10


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
    """The study's facts by key: `sweep` (the sweep file's values), `versions`, `data`, `tests`, ...; checked, see
    `tuner.store.facts`."""
    on_parts: tuple[TrialRecord, ...] = ()
    """Trainings of one trial on parts of the training examples, from the sibling study `<name>/learning-curve`."""
    space: Space | None = None
    """What was searched; None for a study that tuner did not make, or has only begun."""
    database: str = ""
    """Where it was read, as it is shown."""
    store_url: str | None = None
    """Its database, if that was given; None for `study.db` in its folder."""
    identity: str = ""
    """What no other study of its name has; empty for one that plain Optuna made."""
    notes: tuple[Note, ...] = ()
    """What people noted of it and its trials."""
    lease: Lease | None = None
    """Who runs it, or ran it last without a word of goodbye: see `Lease.alive`."""


def study_data(
    *,
    name: str,
    directions: list[str],
    user_attributes: Mapping[str, str],
    system_attributes: Mapping[str, str],
    rows: TrialRows,
    finalists: TrialRows | None,
    on_parts: TrialRows | None,
    shown: str,
) -> StudyData:
    """A study from what its database holds; attributes are JSON texts by key.

    Raises:
        StorageError: it has several objectives, or something in it is not what it should be.
    """
    if len(directions) != 1:
        raise StorageError(f'study "{name}" in {shown} has {len(directions)} objectives; tuner reads studies with one')
    with reading(shown):
        direction = direction_of(directions[0])
        facts, space = read_facts(user_attributes)
        mark = facts.pop(STUDY_ATTRIBUTE, {})
        return StudyData(
            name=name,
            direction=direction,
            metric=mark.get("metric") or _metric_name(system_attributes),
            records=tuple(records_from_rows(rows, direction=direction)),
            finalists=tuple(records_from_rows(finalists, direction=direction, noun="finalist")) if finalists else (),
            on_parts=tuple(records_from_rows(on_parts, direction=direction, noun="training")) if on_parts else (),
            facts=facts,
            space=space,
            database=shown,
            identity=identity_of(mark),
            lease=Lease.from_json(system_attributes.get(LEASE_ATTRIBUTE, "")),
        )


def sweep_of(study: StudyData) -> SweepSpec:
    """The sweep file that a study was run with.

    Raises:
        UsageError: tuner did not make the study.
        StorageError: what it keeps is no sweep file of this version of tuner.
    """
    from tuner.spec.kept.snapshot import sweep_from_snapshot

    if "sweep" not in study.facts:
        raise UsageError(f"{study.name} was not made by tuner, so its data and network are not known here")
    try:
        return sweep_from_snapshot(study.facts["sweep"], root=study.facts.get("root", "."))
    except ValueError as error:
        raise StorageError(
            f'{study.database}: the study\'s fact "sweep" is damaged, or of another version of tuner: {error}'
        ) from error


def _metric_name(system_attributes: Mapping[str, str]) -> str:
    """The objective's name in a study that tuner did not make."""
    names = decode(system_attributes.get(METRIC_NAMES_ATTRIBUTE, "null"))
    is_named = isinstance(names, list) and names and isinstance(names[0], str)
    return names[0].encode("utf-8", "backslashreplace").decode() if is_named else "value"


@contextmanager
def reading(database: str) -> Iterator[None]:
    """Within the block stored values are read; one that is damaged is told with its database and what helps."""
    try:
        yield
    except StoredValueError as error:
        raise StorageError(f"{database} is damaged: {error}; {MEND}") from error


def study_not_found(study: str, known: list[str], *, shown: str) -> StudyNotFoundError:
    """The error for a study that a database does not hold."""
    import difflib

    known = sorted(name for name in known if isinstance(name, str))  # in a damaged database, anything
    near = difflib.get_close_matches(study, known, n=1)
    main = [name for name in known if not name.endswith((f"/{FINALISTS}", f"/{ON_PARTS}"))]
    in_its_folder = Path(shown).name == "study.db" and Path(shown).parent.name == study
    if in_its_folder and len(main) == 1 and shown_name(main[0]) == main[0] and re.match(STUDY_NAME, main[0]):
        folder = Path(shown).parent
        return StudyNotFoundError(
            f'{shown} holds study "{main[0]}", and a study\'s folder bears its name: '
            f"rename {folder} to {folder.with_name(main[0])}"
        )
    listed = ", ".join(map(shown_name, known[:_MOST_LISTED])) or "none"
    more = f", and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    hint = f' Did you mean "{shown_name(near[0])}"?' if near else f" It holds: {listed}{more}."
    return StudyNotFoundError(f'no study "{study}" in {shown}.{hint}')
