"""Which journal SQLite keeps for a study: a write-ahead log, or where memory cannot be shared, a rollback journal."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.contracts.store_contract import SPACE, same
from tests.store.studies import make_study, mounts_of, reopen
from tuner.paths import StudyPaths
from tuner.store.engines import sqlite_engine
from tuner.store.reader import read_study
from tuner.store.sqlite_file import check_study_file, on_network_drive

AHEAD, ROLLBACK = b"\x02\x02", b"\x01\x01"


def journal_of(path: Path) -> bytes:
    """Which journal a SQLite file says that it has."""
    return path.read_bytes()[18:20]


@pytest.mark.parametrize(
    ("place", "kind", "shared"),
    [
        ("", "nfs4", True), ("a b", "fuse.sshfs", True), ("", "fuse", True), ("", "fuseblk", False),
        ("", "ext4", False),
    ],
)  # fmt: skip
def test_a_network_drive_is_told_by_the_innermost_mount(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, place: str, kind: str, shared: bool
) -> None:
    table = tmp_path / "mounts"
    mounted = str(tmp_path.resolve() / place).replace(" ", "\\040")
    table.write_text(f"disk / ext4 rw 0 0\nserver:/x {mounted} {kind} rw 0 0\ndisk {mounted}/disk xfs rw 0 0\n")
    monkeypatch.setenv("TUNER_MOUNTS", str(table))
    assert on_network_drive(tmp_path / place / "study.db") is shared
    assert not on_network_drive(tmp_path / place / "disk" / "study.db")
    assert not on_network_drive(tmp_path.parent / "study.db")


def test_a_disk_of_this_machine_has_a_write_ahead_log(paths: StudyPaths) -> None:
    make_study(paths)
    assert not on_network_drive(paths.database)
    assert journal_of(paths.database) == AHEAD


def has_no_shared_memory(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "study.db-shm").symlink_to(folder / "nowhere" / "file")


def is_a_network_drive(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("TUNER_MOUNTS", str(mounts_of(folder, folder.with_suffix(".mounts"))))


@pytest.mark.slow
@pytest.mark.parametrize("came_with_a_log", [False, True])
@pytest.mark.parametrize("become", [has_no_shared_memory, is_a_network_drive])
def test_where_memory_cannot_be_shared_there_is_a_rollback_journal(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    become: Callable[[pytest.MonkeyPatch, Path], None],
    came_with_a_log: bool,
) -> None:
    here, there = StudyPaths(tmp_path / "here"), StudyPaths(tmp_path / "there")
    there.folder.mkdir()
    if came_with_a_log:
        make_study(here)
        with closing(sqlite3.connect(here.database)) as reader:  # while it is open, the log is kept
            reader.execute("SELECT * FROM trials").fetchone()
            make_study(here, 3)
            for end in ("", "-wal"):
                shutil.copyfile(f"{here.database}{end}", f"{there.database}{end}")
        assert journal_of(there.database) == AHEAD
        assert Path(f"{there.database}-wal").stat().st_size > 0
    become(monkeypatch, there.folder)
    with reopen(there, url=str(there.database)) as store:
        store.start([(SPACE.default(), 2, "")] * 2)
        store.flush()
        assert journal_of(there.database) == ROLLBACK
        assert len(store.records()) == 2 + 6 * came_with_a_log
        assert same(read_study(there, study="digits").records, store.records())
    assert same(read_study(there, study="digits").records, store.records())
    assert not Path(f"{there.database}-wal").exists()
    monkeypatch.delenv("TUNER_MOUNTS", raising=False)
    Path(f"{there.database}-shm").unlink(missing_ok=True)
    with reopen(there) as again:
        assert journal_of(there.database) == AHEAD
        assert same(again.records(), store.records())


OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)
try:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")
    print(connection.execute("SELECT count(*) FROM trials").fetchone()[0])
except sqlite3.OperationalError as error:
    print(error)
connection.close()
"""
"""Another program that has the database open for writing for a moment."""


def other_program(paths: StudyPaths) -> str:
    return subprocess.run(
        [sys.executable, "-c", OTHER, str(paths.database)], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("drive", ["disk", "network drive"])
def test_reading_in_the_process_that_writes_gives_no_lock_away(
    request: pytest.FixtureRequest, paths: StudyPaths, drive: str
) -> None:
    """A lock that is lost lets others remove the log under a run: what it wrote would then be gone if it is killed."""
    if drive == "network drive":
        request.getfixturevalue("network_drive")
    with reopen(paths) as store:
        store.start([(SPACE.default(), 2, "")])
        store.flush()
        read_study(paths, study="digits")
        with reopen(paths, study="digits/finalists"):
            assert other_program(paths) == "1"
            store.start([(SPACE.default(), 2, "")])
            store.flush()
            assert other_program(paths) == "2"
    engine = sqlite_engine(paths.database)
    with engine.begin():
        read_study(paths, study="digits")
        check_study_file(paths.database, thorough=True)
        assert other_program(paths) == "database is locked"
    engine.dispose()
