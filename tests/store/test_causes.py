"""What errors of databases mean, what is said of them, and which are tried again."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from tuner.paths import StudyPaths
from tuner.records import Direction
from tuner.store import engines
from tuner.store.causes import cause_of, root_of
from tuner.store.locations import find_database
from tuner.store.sqlite_file import explain


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("database is locked", "busy"),
        ("server closed the connection unexpectedly", "busy"),
        ("the database system is starting up", "busy"),
        ("database or disk is full", "full"),
        ("[Errno 28] No space left on device", "full"),
        ('connection failed: FATAL:  password authentication failed for user "x"', "fatal"),
        ("attempt to write a readonly database", "fatal"),
        ("no such table: trials", "fatal"),
    ],
)
def test_causes_of_errors_are_told_apart(message: str, cause: str) -> None:
    assert cause_of(RuntimeError(message)) == cause
    wrapped = RuntimeError("An exception is raised during the commit.")
    wrapped.__cause__ = OSError(message)
    assert cause_of(wrapped) == cause


def test_what_a_file_or_a_value_is_called_is_no_cause(tmp_path: Path) -> None:
    """Nor is it an explanation: paths and stored texts may hold any words."""
    words = "disk full, readonly, malformed, not a database, connection timeout, database is locked"
    (tmp_path / words).mkdir()
    engine = create_engine("sqlite://", creator=lambda: sqlite3.connect(tmp_path / words / "study.db", timeout=0))

    def error_of(statement: str, **values: str) -> BaseException:
        with engine.connect() as connection, pytest.raises(Exception, match=words) as raised:
            connection.execute(text(statement), values or {"value": words})
        return raised.value

    def explained(error: BaseException) -> str:
        return explain("there", root_of(error))

    missing = error_of("INSERT INTO trials VALUES (:value)")
    assert (cause_of(missing), explained(missing)) == ("fatal", "there: no such table: trials")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE trials (name)"))
    with closing(sqlite3.connect(tmp_path / words / "study.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        locked = error_of("INSERT INTO trials VALUES (:value)")
    assert (cause_of(locked), explained(locked)) == ("busy", "there: database is locked")
    with pytest.raises(OSError, match=words) as gone:
        (tmp_path / words / "gone" / "study.db").open()
    assert cause_of(gone.value) == "fatal"
    assert not re.search("^disk full|is read-only|damaged", explain(tmp_path, gone.value))


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("08006", "busy"),
        ("40P01", "busy"),
        ("53100", "full"),
        ("53200", "fatal"),
        ("57P01", "busy"),
        ("23505", "fatal"),
    ],
)
def test_a_server_tells_causes_by_its_codes(state: str, cause: str) -> None:
    class ServerError(Exception):
        sqlstate = state

    assert cause_of(ServerError('DETAIL: Key (key)=("database is locked, disk full") already exists.')) == cause


@pytest.mark.parametrize("page_bytes", [4096, 65536])
def test_a_truncated_file_is_told_with_the_size_that_it_had(tmp_path: Path, page_bytes: int) -> None:
    path = tmp_path / "study.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        connection.execute("CREATE TABLE t (x)")
        connection.commit()
    whole = path.stat().st_size
    with path.open("rb+") as file:
        file.truncate(whole - 100)
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    said = explain(path, error)
    assert f"truncated: {whole - 100:,} of {whole:,} bytes" in said


@pytest.mark.slow
def test_whatever_a_race_of_creators_raises_a_study_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, raised = engines._new_study, [AssertionError(), StorageInternalError("no study"), SQLAlchemyError("a race")]

    def racing(*arguments: Any, **named: Any) -> None:
        if raised:
            raise raised.pop()
        make(*arguments, **named)

    monkeypatch.setattr(engines, "_new_study", racing)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    file = find_database(StudyPaths(tmp_path), url=None)
    location = replace(file, kind="server", url=f"sqlite:///{file.path}")  # as Optuna's storage of a server works
    for _ in range(2):  # that it is there already is no error
        engines.create_study(location, "digits", direction=Direction.MAXIMIZE, metric="accuracy")
    assert engines.study_names(engines.sqlite_engine(location.path)) == ["digits"]


def test_a_drive_without_locks_is_said_to_be_one() -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_LOCK, "SQLITE_IOERR_LOCK"
    assert "cannot be locked on its drive; put it on another" in explain("study.db", error)
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_READ, "SQLITE_IOERR_READ"
    assert explain("study.db", error) == "study.db: disk I/O error"
