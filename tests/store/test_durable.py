"""What is said to be written is on the disk: a power cut takes back what no `fsync` has asked for."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

import pytest

from tests.contracts.store_contract import SPACE
from tests.store.studies import make_study, reopen
from tuner.errors import StorageError
from tuner.paths import StudyPaths
from tuner.store.engines import sqlite_engine
from tuner.store.pending import PendingFolder

Synced = dict[tuple[int, int], int]
"""How many bytes each file had, by device and inode, when it was last brought to the disk."""


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Synced:
    found: Synced = {}
    fsync = os.fsync

    def watched(file: int) -> None:
        fsync(file)
        status = os.fstat(file)
        found[status.st_dev, status.st_ino] = status.st_size

    monkeypatch.setattr(os, "fsync", watched)
    return found


def place(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def test_results_that_wait_in_a_file_are_on_the_disk_when_it_has_its_name(paths: StudyPaths, synced: Synced) -> None:
    make_study(paths, num_trials=1)
    with reopen(paths) as store:
        records = store.records()
    synced.clear()
    PendingFolder(paths.pending, "digits").keep({0: records[0]}, {})
    (file,) = paths.pending.iterdir()
    assert synced[place(file)] == file.stat().st_size > 0


def test_a_new_database_and_its_name_are_on_the_disk_before_it_is_used(
    paths: StudyPaths, synced: Synced, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tuner.store import opening

    at_use: Synced = {}

    def use(path: Path) -> object:
        at_use.update(synced)
        return sqlite_engine(path)

    monkeypatch.setattr(opening.engines, "sqlite_engine", use)
    reopen(paths).close()
    assert at_use[place(paths.database)] > 0
    assert place(paths.database.parent) in at_use


def test_each_transaction_of_a_run_is_on_the_disk_when_it_is_over(paths: StudyPaths) -> None:
    make_study(paths, num_trials=1)
    engine = sqlite_engine(paths.database)
    with engine.connect() as connection:
        full = 2  # SQLite's number of FULL; NORMAL leaves the last transactions of a write-ahead log to a power cut
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == full
    engine.dispose()


def test_a_failure_is_told_also_where_nothing_can_be_kept(paths: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> str:
        raise RuntimeError("no words for it")

    told: list[BaseException] = []

    def run() -> None:
        store = reopen(paths)
        monkeypatch.setattr(store._writer._database, "write", broken)
        monkeypatch.setattr(PendingFolder, "keep", broken)
        with pytest.raises((StorageError, RuntimeError)) as found:
            store.start([(SPACE.default(), 2, "")])
        told.append(found.value)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout=120)
    assert "no words for it" in str(told[0])
