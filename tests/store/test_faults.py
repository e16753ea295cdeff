"""Full disks, locks held by others, servers that stop: nothing that was recorded is lost."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.contracts.store_contract import SPACE, same, train
from tests.store.conftest import PostgresServer
from tests.store.processes import Elsewhere, next_line
from tests.store.studies import make_study, reopen
from tests.store.test_opening import race
from tuner.errors import StorageError, StudyNotFoundError
from tuner.paths import StudyPaths
from tuner.records import TrialFinished, TrialState
from tuner.store import writer
from tuner.store.pending import PendingFolder
from tuner.store.reader import read_study

HOLDER = """
import sqlite3, sys, time
from pathlib import Path
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
while not Path(sys.argv[2]).exists():
    time.sleep(0.01)
connection.execute("ROLLBACK")
"""


def hold_lock(elsewhere: Elsewhere, paths: StudyPaths) -> subprocess.Popen[str]:
    """A process that holds the database's write lock until the file `release` is there."""
    holder = elsewhere(HOLDER, paths.database, release(paths))
    assert next_line(holder) == "locked\n"
    return holder


def release(paths: StudyPaths) -> Path:
    return paths.folder.parent / "release"


class ReleaseAtWarning(logging.Handler):
    """Has the lock given up as soon as it is warned of."""

    def __init__(self, paths: StudyPaths) -> None:
        super().__init__(logging.WARNING)
        self.paths = paths

    def emit(self, record: logging.LogRecord) -> None:
        release(self.paths).touch()


@pytest.fixture
def released_at_warning(paths: StudyPaths) -> Iterator[None]:
    logger, handler = logging.getLogger("tuner.store"), ReleaseAtWarning(paths)
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@pytest.mark.slow
@pytest.mark.usefixtures("released_at_warning")
def test_lock_of_another_program_is_waited_for_with_one_warning(
    elsewhere: Elsewhere, paths: StudyPaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tuner.store.engines.BUSY_SECONDS", 0.2)
    caplog.set_level(logging.WARNING, logger="tuner.store")
    with reopen(paths) as store:
        store.start([(SPACE.default(), 2, "")])
        holder = hold_lock(elsewhere, paths)
        train(store, 0, [0.5, 0.6])
        store.record(TrialFinished(trial=0, reason="all epochs"))
        store.flush()
        holder.wait()
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == [
        f"{paths.database} cannot be written now"
    ]
    assert read_study(paths, study="digits").records[0].state is TrialState.COMPLETE


@pytest.mark.slow
@pytest.mark.usefixtures("released_at_warning")
def test_opening_waits_for_a_lock(
    elsewhere: Elsewhere, paths: StudyPaths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tuner.store.engines.BUSY_SECONDS", 0.2)
    make_study(paths)
    holder = hold_lock(elsewhere, paths)
    with reopen(paths) as store:
        assert len(store.records()) == 3
    assert holder.wait() == 0
    assert sum("database is locked" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.slow
def test_lock_that_is_never_given_up_keeps_the_results_in_a_file(
    elsewhere: Elsewhere, paths: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.store.engines.BUSY_SECONDS", 0.1)
    monkeypatch.setattr(writer, "PATIENCE_SECONDS", 0.5)
    store = reopen(paths)
    store.start([(SPACE.default(), 2, "")])
    holder = hold_lock(elsewhere, paths)
    train(store, 0, [0.5, 0.6])
    store.record(TrialFinished(trial=0, reason="all epochs"))
    store.set("verdict", "variance")
    with pytest.raises(StorageError, match=r"database is locked.*kept in .*pending"):
        store.flush()
    wanted = store.records()
    with pytest.raises(StorageError):
        store.close()
    holder.kill()
    holder.wait()
    assert read_study(paths, study="digits").records[0].state is TrialState.RUNNING
    with pytest.MonkeyPatch.context() as dead:  # this process could not give its lease back
        dead.setattr("tuner.store.lease.Lease.alive", property(lambda lease: False))
        with reopen(paths) as again:
            assert same(again.records(), wanted)
            assert again.get("verdict") == "variance"
            assert again.interrupted() == ()
    assert not paths.pending.exists()
    assert same(read_study(paths, study="digits").records, wanted)


def test_open_reader_delays_nobody(paths: StudyPaths) -> None:
    make_study(paths)
    reader = sqlite3.connect(paths.database, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM trials").fetchone()
    with reopen(paths) as store:
        store.start([(SPACE.default(), 2, "")])
        assert len(read_study(paths, study="digits").records) == 4
    reader.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs more rights")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_full_disk_loses_nothing(small_disk: Path) -> None:
    paths = StudyPaths(small_disk / "digits")
    store = reopen(paths)
    store.start([(SPACE.default(), 2, "")] * 3)
    train(store, 0, [0.5, 0.6])
    store.flush()
    ballast = small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    with ballast.open("rb+") as file:  # room for a small file, not for SQLite's pages
        file.truncate(ballast.stat().st_size - 16 * 4096)
    with pytest.raises(StorageError, match=rf"disk full: {paths.database} cannot grow.*kept in .*pending") as full:  # noqa: PT012
        for number in range(1000):
            store.annotate(0, {"note": f"{number} " * 1000})
            store.flush()
    assert full.value.exit_code == 5
    with pytest.raises(StorageError):  # at once, and yet it is kept
        store.record(TrialFinished(trial=0, reason="all epochs"))
    wanted = store.records()
    with pytest.raises(StorageError):
        store.close()
    ballast.unlink()
    with pytest.MonkeyPatch.context() as dead:
        dead.setattr("tuner.store.lease.Lease.alive", property(lambda lease: False))
        with reopen(paths) as again:
            assert same(again.records(), wanted)
    connection = sqlite3.connect(paths.database)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_pending_results_never_undo_what_was_stored_since(paths: StudyPaths) -> None:
    with reopen(paths) as store:
        store.start([(SPACE.default(), 2, "")] * 2)
        train(store, 0, [0.5])
        train(store, 1, [0.5])
        older = store.records()
        store.record(TrialFinished(trial=0, reason="all epochs"))
        train(store, 1, [0.6])
        newer = store.records()
    PendingFolder(paths.pending, "digits").keep({record.number: record for record in older}, {})
    PendingFolder(paths.pending, "another study").keep({0: older[0]}, {})
    with reopen(paths) as store:
        assert same(store.records(), newer)
    assert len(list(paths.pending.iterdir())) == 1


@pytest.mark.slow
def test_killed_at_any_moment_the_database_is_sound(elsewhere: Elsewhere, paths: StudyPaths) -> None:
    """What was flushed is there; the rest may be. (The whole sweep is tortured elsewhere.)"""
    script = """
import sys
from pathlib import Path
from tests.contracts.store_contract import train
from tests.store.studies import SPACE, reopen
from tuner.paths import StudyPaths
from tuner.records import TrialFinished
store = reopen(StudyPaths(Path(sys.argv[1])))
while True:
    number = store.start([(SPACE.default(), 2, "")])[0].number
    train(store, number, [0.5, 0.6])
    store.record(TrialFinished(trial=number, reason="all epochs"))
    store.flush()
    print(number, flush=True)
"""
    announced = -1
    for patience in (0.0, 0.013, 0.031):
        process = elsewhere(script, paths.folder)
        announced = int(next_line(process))
        time.sleep(patience)
        process.kill()
        said, _ = process.communicate()
        announced = max([announced, *map(int, said.split())])
        records = read_study(paths, study="digits").records
        assert [r.number for r in records] == list(range(len(records)))
        assert {r.state for r in records[: announced + 1] if r.attempts} == {TrialState.COMPLETE}
        assert records[announced].state is TrialState.COMPLETE
    connection = sqlite3.connect(paths.database)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


@pytest.mark.slow
class TestPostgres:
    """A real server, with a database of its own for each test."""

    @pytest.fixture
    def url(self, postgres: PostgresServer, request: pytest.FixtureRequest) -> str:
        import psycopg

        name = request.node.name
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return postgres.url(name)

    def test_server_that_restarts_loses_nothing(
        self,
        paths: StudyPaths,
        url: str,
        postgres: PostgresServer,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        with reopen(paths, url=url) as store:
            store.start([(SPACE.default(), 2, "")] * 3)
            postgres.control("stop", "-m", "immediate")
            restart = threading.Timer(1.0, lambda: postgres.control("start"))
            restart.start()
            for trial in range(3):
                train(store, trial, [0.5, 0.6])
                store.record(TrialFinished(trial=trial, reason="all epochs"))
            store.flush()
            restart.join()
            store.start([(SPACE.default(), 2, "")])
            wanted = store.records()
        assert same(read_study(paths, study="digits", url=url).records, wanted)
        assert sum("cannot be written now" in record.getMessage() for record in caplog.records) == 1

    def test_server_that_stays_away_keeps_the_results_in_a_file(
        self, paths: StudyPaths, url: str, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(writer, "PATIENCE_SECONDS", 1.0)
        store = reopen(paths, url=url)
        store.start([(SPACE.default(), 2, "")])
        postgres.control("stop", "-m", "immediate")
        try:
            train(store, 0, [0.5])
            with pytest.raises(StorageError, match=r"kept in .*pending") as lost:
                store.flush()
            with pytest.raises(StorageError, match="connection"):
                read_study(paths, study="digits", url=url)
            with pytest.raises(StorageError, match="connection"):
                reopen(paths, url=url)
            wanted = store.records()
            with pytest.raises(StorageError):
                store.close()
        finally:
            postgres.control("start")
        assert "hush" not in str(lost.value)
        monkeypatch.setattr("tuner.store.lease.Lease.alive", property(lambda lease: False))
        with reopen(paths, url=url) as again:
            assert same(again.records(), wanted)

    def test_wrong_password_is_told_at_once_and_not_shown(self, paths: StudyPaths, postgres: PostgresServer) -> None:
        url = postgres.url(password="s3cret")
        for action in (lambda: reopen(paths, url=url), lambda: read_study(paths, study="digits", url=url)):
            with pytest.raises(StorageError, match="password authentication failed") as refusal:
                action()
            assert "s3cret" not in str(refusal.value)
            assert "\n" not in str(refusal.value)

    def test_missing_study_creates_no_tables(self, paths: StudyPaths, url: str) -> None:
        import psycopg

        with pytest.raises(StudyNotFoundError):
            read_study(paths, study="digits", url=url)
        with pytest.raises(StudyNotFoundError):
            reopen(paths, url=url, create=False)
        with psycopg.connect(url) as connection:
            found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
        assert found == (0,)

    @pytest.mark.deep
    def test_one_of_eight_that_start_at_once_runs_the_study(
        self, elsewhere: Elsewhere, paths: StudyPaths, tmp_path: Path, url: str
    ) -> None:
        said = race(elsewhere, paths, tmp_path / "go", url)
        assert said.count("running\n") == 1
        assert sum("is run by process" in line for line in said) == 7
        assert len(read_study(paths, study="digits", url=url).records) == 1


def test_a_lock_of_the_process_that_runs_the_study_is_said_to_be_its(
    paths: StudyPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been suspended in a transaction: there is nothing to wait for."""
    monkeypatch.setattr("tuner.store.engines.BUSY_SECONDS", 0.1)
    monkeypatch.setattr("tuner.store.writer.PATIENCE_SECONDS", 0.0)
    with reopen(paths), closing(sqlite3.connect(paths.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=rf"is run by process {os.getpid()} on .* holds the database's lock"):
            reopen(paths)
        other.execute("ROLLBACK")
