"""Saving a study's file: a copy of a sound one, and a new file with all that can be read of a damaged one."""

from __future__ import annotations

import secrets
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from optuna.exceptions import OptunaError
from sqlalchemy.exc import SQLAlchemyError

from tuner.errors import StorageError, UsageError
from tuner.store.causes import root_of
from tuner.store.codec import STATE_ATTRIBUTE, STUDY_ATTRIBUTE
from tuner.store.engines import create_sqlite_schema, put_in_place
from tuner.store.reader import read_connection
from tuner.store.shapes import StoredValueError
from tuner.store.sqlite_file import check_study_file, copy_with_journals, explain, read_file, result_code

Row: TypeAlias = tuple[Any, ...]

_STUDY_TABLES = {
    "studies": ("study_id", "study_name"),
    "study_directions": ("study_direction_id", "study_id", "direction", "objective"),
    "study_user_attributes": ("study_user_attribute_id", "study_id", "key", "value_json"),
    "study_system_attributes": ("study_system_attribute_id", "study_id", "key", "value_json"),
}
_TRIALS = ("trial_id", "study_id", "number", "state", "datetime_start", "datetime_complete")
_TRIAL_TABLES = {
    "trial_params": ("param_id", "trial_id", "param_name", "param_value", "distribution_json"),
    "trial_values": ("trial_value_id", "trial_id", "objective", "value", "value_type"),
    "trial_intermediate_values": (
        "trial_intermediate_value_id",
        "trial_id",
        "step",
        "intermediate_value",
        "intermediate_value_type",
    ),
    "trial_user_attributes": ("trial_user_attribute_id", "trial_id", "key", "value_json"),
}
_NEEDED = {STATE_ATTRIBUTE, "seed", "tier"}
"""User attributes without which a trial of ours cannot be understood."""
_MOST_TRIALS = 1_000_000
"""No study has more; a larger number is damaged itself."""
_BYTES_PER_ROW = 16
"""The least that a row takes; bounds the row ids where the largest cannot be read."""


@dataclass(frozen=True, slots=True)
class _Salvage:
    """What was saved of a damaged file."""

    studies: tuple[str, ...]
    num_trials: int
    lost: tuple[int, ...]
    """Numbers of the trials of which something could not be read."""
    num_unnamed: int
    """Further trials of which some part could be read, but not their numbers."""
    left_out: tuple[str, ...] = ()
    """What could be read and makes no sense, a line each: values that no program of ours has written."""


def back_up(path: Path, target: Path) -> None:
    """Copy a study's file, also while a sweep writes to it.

    Raises:
        UsageError: there is such a file already.
        StorageError: the file cannot be read, or the copy not be written.
    """
    with new_file(target) as part:

        def copy(source: sqlite3.Connection) -> None:
            with closing(sqlite3.connect(part)) as destination:
                try:
                    source.backup(destination)
                except sqlite3.Error as error:  # the source is only read, so what cannot be written is the copy
                    if result_code(error) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) or _is_of_reading(error):
                        raise
                    raise StorageError(f"{target} cannot be written: {error}") from error

        read_file(path, copy)


def _is_of_reading(error: sqlite3.Error) -> bool:
    return "READ" in error.sqlite_errorname


def salvage(path: Path, target: Path) -> _Salvage:
    """Write all that can be read of a damaged file into a new one; the damaged file stays as it is.

    A trial is saved whole or not at all.

    Raises:
        UsageError: there is such a file already.
        StorageError: not even the list of studies can be read, or the new file cannot be written.
    """
    with new_file(target) as part, tempfile.TemporaryDirectory(prefix="tuner-") as folder:
        create_sqlite_schema(part)
        copy = _readable_copy(path, template=part, folder=Path(folder))
        try:
            with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(part)) as destination:
                source.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
                source.execute("PRAGMA writable_schema = ON")  # read on where the file is shorter than it says
                result = _copy_rows(source, destination, limit=path.stat().st_size // _BYTES_PER_ROW)
                destination.commit()
            result = replace(result, **_weeded(part, result))
        except sqlite3.Error as error:
            raise StorageError(f"nothing can be saved: {explain(path, error)}") from error
        if not result.studies:
            raise StorageError(f"nothing can be saved: no study can be read in {path}")
        check_study_file(part, thorough=True)
    return result


@contextmanager
def new_file(target: Path) -> Iterator[Path]:
    """A file that takes its name when the block ends well."""
    if target.exists():
        raise UsageError(f"{target} exists already; name a new file")
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        yield part
        put_in_place(part, target)
    except (OSError, sqlite3.Error, SQLAlchemyError, OptunaError) as error:
        raise StorageError(f"{target} cannot be written: {root_of(error)}") from error
    finally:
        part.unlink(missing_ok=True)


def _readable_copy(path: Path, *, template: Path, folder: Path) -> Path:
    """A copy, with its journals, whose header fits the file: a header that is gone is taken from a new file."""
    copy = copy_with_journals(path, folder)
    with copy.open("rb+") as file, template.open("rb") as sound:
        header = bytearray(file.read(100))
        if not header.startswith(b"SQLite format 3\0"):
            header = bytearray(sound.read(100))
        header[28:32] = bytes(4)  # where no number of pages is said, SQLite counts those that there are
        file.seek(0)
        file.write(header)
    return copy


@dataclass(slots=True)
class _Rows:
    """What could be read of a table."""

    found: list[Row] = field(default_factory=list)
    unread: set[int] = field(default_factory=set)
    """Row ids that may have been rows."""


def _copy_rows(source: sqlite3.Connection, destination: sqlite3.Connection, *, limit: int) -> _Salvage:
    studies = {name: _read_table(source, name, columns, limit).found for name, columns in _STUDY_TABLES.items()}
    known = {row[0]: str(row[1]) for row in studies["studies"]}
    ours = {row[1] for row in studies["study_user_attributes"] if row[2] == STUDY_ATTRIBUTE}
    trials = [row for row in _read_table(source, "trials", _TRIALS, limit).found if row[1] in known]
    parts = {name: _read_table(source, name, columns, limit) for name, columns in _TRIAL_TABLES.items()}
    whole = _whole_trials(trials, parts, ours)
    for name, columns in _STUDY_TABLES.items():
        _write(destination, name, columns, [row for row in studies[name] if name == "studies" or row[1] in known])
    _write(destination, "trials", _TRIALS, [row for row in trials if row[0] in whole])
    for name, columns in _TRIAL_TABLES.items():
        _write(destination, name, columns, [row for row in parts[name].found if row[1] in whole])
    numbers = {row[2] for row in trials if row[0] in whole}
    known_numbers = [row[2] for row in trials if isinstance(row[2], int) and row[2] < _MOST_TRIALS]
    lost = set(range(max(known_numbers, default=-1) + 1)) - numbers
    unnamed = {row[1] for rows in parts.values() for row in rows.found} - {row[0] for row in trials}
    return _Salvage(tuple(known.values()), len(whole), tuple(sorted(lost)), len(unnamed))


def _whole_trials(trials: list[Row], parts: dict[str, _Rows], ours: set[int]) -> set[int]:
    """Ids of the trials of which nothing is missing."""
    torn: set[int] = set()
    for rows in parts.values():
        # A trial's rows were written together: one beside a hole may have lost a neighbour.
        torn |= {row[1] for row in rows.found if rows.unread & {row[0] - 1, row[0] + 1}}
    keys: dict[int, set[str]] = defaultdict(set)
    for row in parts["trial_user_attributes"].found:
        keys[row[1]].add(row[2])
    with_params = {row[1] for row in parts["trial_params"].found}
    whole = {row[0] for row in trials} - torn
    whole = {trial_id for trial_id in whole if trial_id in with_params or not with_params}
    for trial_id, study_id, _, state, *_ in trials:
        needed = {*_NEEDED, "best", "last"} if state == "COMPLETE" else _NEEDED
        if study_id in ours and not needed <= keys[trial_id]:
            whole.discard(trial_id)
    return whole


def _weeded(part: Path, saved: _Salvage) -> dict[str, Any]:
    """Remove from the new file what could be read and makes no sense: trials as a whole, and facts of studies."""
    left_out: list[str] = []
    lost = set(saved.lost)
    with closing(sqlite3.connect(part)) as file:
        for study in sorted(saved.studies, reverse=True):  # finalists before the study that they are read with
            while (error := _first_error(file, study)) is not None:
                left_out.append(str(error))
                if error.trial_id is not None:
                    found = file.execute("SELECT number FROM trials WHERE trial_id = ?", (error.trial_id,)).fetchone()
                    lost |= {found[0]} if found else set()
                    for table in ("trials", *_TRIAL_TABLES):
                        file.execute(f"DELETE FROM {table} WHERE trial_id = ?", (error.trial_id,))
                else:
                    study_id = "(SELECT study_id FROM studies WHERE study_name = ?)"
                    file.execute(
                        f"DELETE FROM study_user_attributes WHERE study_id = {study_id} AND key = ?",
                        (study, error.fact),
                    )
                file.commit()
        ((num_trials,),) = file.execute("SELECT count(*) FROM trials")
    return {"left_out": tuple(left_out), "num_trials": num_trials, "lost": tuple(sorted(lost))}


def _first_error(file: sqlite3.Connection, study: str) -> StoredValueError | None:
    """What the reader of studies refuses; it goes from one to the next as they are removed."""
    try:
        read_connection(file, study, shown="the database")
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, StoredValueError) and (cause.trial_id, cause.fact) != (None, None):
            return cause
        raise StorageError(f"nothing can be saved: {error}") from error
    finally:
        file.rollback()
    return None


def _read_table(source: sqlite3.Connection, table: str, columns: tuple[str, ...], limit: int) -> _Rows:
    rows = _Rows()
    try:
        last = source.execute(f"SELECT max({columns[0]}) FROM {table} NOT INDEXED").fetchone()[0] or 0
    except sqlite3.DatabaseError:
        last = limit
    query = f"SELECT {', '.join(columns)} FROM {table} NOT INDEXED WHERE {columns[0]} BETWEEN ? AND ?"
    _read_range(source, query, 1, last, rows)
    return rows


def _read_range(source: sqlite3.Connection, query: str, low: int, high: int, rows: _Rows) -> None:
    """Read what can be read of a range of row ids; a range that fails is halved."""
    if low > high:
        return
    try:
        rows.found += source.execute(query, (low, high)).fetchall()
    except sqlite3.DatabaseError:
        if low == high:
            rows.unread.add(low)
            return
        middle = (low + high) // 2
        _read_range(source, query, low, middle, rows)
        _read_range(source, query, middle + 1, high, rows)


def _write(destination: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: list[Row]) -> None:
    marks = ", ".join("?" * len(columns))
    destination.executemany(f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)
