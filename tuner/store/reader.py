"""Reading a study without owning it: during a run, from a read-only disk, without SQLAlchemy for SQLite."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import StorageError, StudyNotFoundError, UsageError
from tuner.paths import StudyPaths
from tuner.records import Direction, Json, TrialRecord
from tuner.spec.names import STUDY_NAME
from tuner.spec.space import Space
from tuner.store.codec import LEASE_ATTRIBUTE, METRIC_NAMES_ATTRIBUTE, STUDY_ATTRIBUTE, decode, identity_of
from tuner.store.facts import read_facts
from tuner.store.lease import Lease
from tuner.store.locations import DatabaseLocation, find_database
from tuner.store.pending import PendingFolder
from tuner.store.rows import TrialRows, direction_of, records_from_rows
from tuner.store.shapes import StoredValueError, shown_name
from tuner.store.sqlite_file import MEND, check_header, check_schema, read_file

if TYPE_CHECKING:
    from tuner.spec.model import SweepSpec

FINALISTS = "finalists"
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
    space: Space | None = None
    """What was searched; None for a study that tuner did not make, or has only begun."""
    database: str = ""
    """Where it was read, as it is shown."""
    store_url: str | None = None
    """Its database, if that was given; None for `study.db` in its folder."""
    identity: str = ""
    """What no other study of its name has; empty for one that plain Optuna made."""
    lease: Lease | None = None
    """Who runs it, or ran it last without a word of goodbye: see `Lease.alive`."""


def read_study(paths: StudyPaths, *, study: str, url: str | None = None) -> StudyData:
    """Read a study, whoever made it; nothing is created or changed.

    Facts that its last run could not write any more (why it ended, on a full disk) are read from beside the database.

    Args:
        paths: The study's folder.
        study: Its name.
        url: Its database, if that is not `study.db` in the folder.

    Raises:
        StudyNotFoundError: there is no such database, or no such study in it (the message names those there are).
        StorageError: the database cannot be read, or what it holds is damaged.
    """
    found = replace(_read_database(find_database(paths, url=url), study=study), store_url=url)
    with suppress(StorageError, StoredValueError):  # such a file is for the next run to tell of
        _, _, waiting = PendingFolder(paths.pending, study, found.identity).read()
        waiting.pop(STUDY_ATTRIBUTE, None)
        newer, space = read_facts(waiting)
        return replace(found, facts={**found.facts, **newer}, space=space or found.space)
    return found


def _read_database(location: DatabaseLocation, *, study: str) -> StudyData:
    match location.kind:
        case "sqlite":
            if not location.path.exists():
                raise StudyNotFoundError(f'no study "{study}": there is no database {location.path}')
            check_header(location.path)
            return read_file(location.path, lambda connection: read_connection(connection, study, shown=str(location)))
        case "server":
            from tuner.store.server import read_server_study

            return read_server_study(location, study=study)
        case "journal":
            from tuner.store.journal_file import read_journal_study

            return read_journal_study(location, study=study)


def read_lease(path: Path, *, study: str) -> Lease | None:
    """Who runs a study of a SQLite file, or ran it last without a word of goodbye; works while the file is locked."""

    def read(connection: sqlite3.Connection) -> str:
        found = connection.execute(
            "SELECT value_json FROM study_system_attributes JOIN studies USING (study_id) "
            "WHERE study_name = ? AND key = ?",
            (study, LEASE_ATTRIBUTE),
        ).fetchone()
        return found[0] if found else ""

    return Lease.from_json(read_file(path, read))


def study_data(
    *,
    name: str,
    directions: list[str],
    user_attributes: Mapping[str, str],
    system_attributes: Mapping[str, str],
    rows: TrialRows,
    finalists: TrialRows | None,
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
    from tuner.spec.snapshot import sweep_from_snapshot

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
    main = [name for name in known if not name.endswith("/finalists")]
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


def read_connection(connection: sqlite3.Connection, study: str, *, shown: str) -> StudyData:
    """Read a study from an open SQLite file; see `read_study`."""
    check_schema(connection, shown=shown)
    connection.execute("BEGIN")  # one moment for all tables, while a sweep goes on writing
    ids = dict(connection.execute("SELECT study_name, study_id FROM studies"))
    if study not in ids:
        raise study_not_found(study, list(ids), shown=shown)
    identity = ids[study]
    finalists = ids.get(f"{study}/{FINALISTS}")
    return study_data(
        name=study,
        directions=[
            direction
            for (direction,) in connection.execute(
                "SELECT direction FROM study_directions WHERE study_id = ? ORDER BY objective", (identity,)
            )
        ],
        user_attributes=_study_attributes(connection, "study_user_attributes", identity),
        system_attributes=_study_attributes(connection, "study_system_attributes", identity),
        rows=_rows(connection, identity),
        finalists=_rows(connection, finalists) if finalists is not None else None,
        shown=shown,
    )


def _study_attributes(connection: sqlite3.Connection, table: str, study_id: int) -> dict[str, str]:
    return dict(connection.execute(f"SELECT key, value_json FROM {table} WHERE study_id = ?", (study_id,)))


def _rows(connection: sqlite3.Connection, study_id: int) -> TrialRows:
    def select(columns: str, table: str, order: str) -> sqlite3.Cursor:
        where = "trial_id IN (SELECT trial_id FROM trials WHERE study_id = ?)"
        return connection.execute(f"SELECT {columns} FROM {table} WHERE {where} ORDER BY {order}", (study_id,))

    return TrialRows(
        trials=connection.execute(
            "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials "
            "WHERE study_id = ? ORDER BY number",
            (study_id,),
        ),
        params=select("trial_id, param_name, param_value, distribution_json", "trial_params", "param_id"),
        attributes=select("trial_id, key, value_json", "trial_user_attributes", "trial_id"),
        intermediate_values=select(
            "trial_id, step, intermediate_value, intermediate_value_type", "trial_intermediate_values", "trial_id, step"
        ),
        values=select("trial_id, value, value_type", "trial_values", "trial_id"),
    )
