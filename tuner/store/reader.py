"""Reading a study without owning it: during a run, from a read-only disk, without SQLAlchemy for SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tuner.errors import StorageError, StudyNotFoundError
from tuner.paths import StudyPaths
from tuner.records import TrialRecord
from tuner.store.codec import LEASE_ATTRIBUTE, STATE_ATTRIBUTE, STUDY_ATTRIBUTE
from tuner.store.facts import read_facts
from tuner.store.lease import Lease
from tuner.store.locations import DatabaseLocation, find_database
from tuner.store.notes import read_notes
from tuner.store.pending import PendingFolder
from tuner.store.rows import TrialRows
from tuner.store.shapes import StoredValueError
from tuner.store.sqlite_file import check_header, check_schema, read_file
from tuner.store.study_data import FINALISTS, ON_PARTS, StudyData, study_data, study_not_found

_NOT_OURS = (
    " AND NOT EXISTS (SELECT 1 FROM trial_user_attributes AS a"
    f" WHERE a.trial_id = trials.trial_id AND a.key = '{STATE_ATTRIBUTE}')"
)


def read_study(
    paths: StudyPaths,
    *,
    study: str,
    url: str | None = None,
    with_rungs: bool = True,
    known: Mapping[int, TrialRecord] | None = None,
) -> StudyData:
    """Read a study, whoever made it; nothing is created or changed.

    Facts that its last run could not write any more (why it ended, on a full disk) are read from beside the database.

    Args:
        paths: The study's folder.
        study: Its name.
        url: Its database, if that is not `study.db` in the folder.
        with_rungs: False where nobody asks for them, who are most of a large study's rows: a file is read without those
            of trials that tuner made.
        known: Trials by number as they were read before, and are to be taken for what they are now: of a file they are
            not read again.

    Raises:
        StudyNotFoundError: there is no such database, or no such study in it (the message names those there are).
        StorageError: the database cannot be read, or what it holds is damaged.
    """
    location = find_database(paths, url=url)
    found = _read_database(location, study=study, with_rungs=with_rungs, known=known or {})
    found = replace(found, store_url=url)
    found = replace(found, notes=read_notes(paths.notes))
    with suppress(StorageError, StoredValueError):  # such a file is for the next run to tell of
        _, _, waiting = PendingFolder(paths.pending, study, found.identity).read()
        waiting.pop(STUDY_ATTRIBUTE, None)
        newer, space = read_facts(waiting)
        return replace(found, facts={**found.facts, **newer}, space=space or found.space)
    return found


def _read_database(
    location: DatabaseLocation, *, study: str, with_rungs: bool, known: Mapping[int, TrialRecord]
) -> StudyData:
    if location.kind == "server":
        from tuner.store.server import read_server_study

        return read_server_study(location, study=study)
    if not location.path.exists():
        raise StudyNotFoundError(f'no study "{study}": there is no database {location.path}')
    check_header(location.path)
    shown = str(location)
    found = read_file(
        location.path,
        lambda connection: read_connection(connection, study, shown=shown, with_rungs=with_rungs, without=known),
    )
    if not known:
        return found
    return replace(found, records=tuple(sorted((*known.values(), *found.records), key=lambda r: r.number)))


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


def read_connection(
    connection: sqlite3.Connection,
    study: str,
    *,
    shown: str,
    with_rungs: bool = True,
    without: Collection[int] = (),
) -> StudyData:
    """Read a study from an open SQLite file, but for the trials of some numbers; see `read_study`."""
    check_schema(connection, shown=shown)
    connection.execute("BEGIN")  # one moment for all tables, while a sweep goes on writing
    ids = dict(connection.execute("SELECT study_name, study_id FROM studies"))
    if study not in ids:
        raise study_not_found(study, list(ids), shown=shown)
    identity = ids[study]
    finalists, on_parts = (ids.get(f"{study}/{beside}") for beside in (FINALISTS, ON_PARTS))
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
        rows=_rows(connection, identity, with_rungs=with_rungs, without=without),
        finalists=_rows(connection, finalists, with_rungs=with_rungs) if finalists is not None else None,
        on_parts=_rows(connection, on_parts, with_rungs=with_rungs) if on_parts is not None else None,
        shown=shown,
    )


def _study_attributes(connection: sqlite3.Connection, table: str, study_id: int) -> dict[str, str]:
    return dict(connection.execute(f"SELECT key, value_json FROM {table} WHERE study_id = ?", (study_id,)))


def _rows(
    connection: sqlite3.Connection, study_id: int, *, with_rungs: bool, without: Collection[int] = ()
) -> TrialRows:
    """The rows of a study's trials, but for those of some numbers."""
    columns = "trial_id, number, state, datetime_start, datetime_complete"
    trials = connection.execute(f"SELECT {columns} FROM trials WHERE study_id = ? ORDER BY number", (study_id,))
    mine, value = "study_id = ?", str(study_id)
    rows: Iterable[tuple[int, int, str, str | None, str | None]] = trials
    if without:
        rows = [row for row in trials if row[1] not in without]
        mine, value = "trial_id IN (SELECT value FROM json_each(?))", json.dumps([row[0] for row in rows])

    def select(columns: str, table: str, order: str, which: str = "") -> sqlite3.Cursor:
        where = f"trial_id IN (SELECT trial_id FROM trials WHERE {mine}{which})"
        return connection.execute(f"SELECT {columns} FROM {table} WHERE {where} ORDER BY {order}", (value,))

    return TrialRows(
        trials=rows,
        params=select("trial_id, param_name, param_value, distribution_json", "trial_params", "param_id"),
        attributes=select("trial_id, key, value_json", "trial_user_attributes", "trial_id"),
        intermediate_values=select(
            "trial_id, step, intermediate_value, intermediate_value_type",
            "trial_intermediate_values",
            "trial_id, step",
            "" if with_rungs else _NOT_OURS,
        ),
        values=select("trial_id, value, value_type", "trial_values", "trial_id"),
    )
