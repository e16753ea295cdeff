"""Copies of sound files, and new files out of damaged ones."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.contracts.store_contract import SPACE, same, train
from tests.store.studies import make_study, reopen, truncated, zeroed_header
from tuner.errors import StorageError, UsageError
from tuner.paths import StudyPaths
from tuner.store.reader import read_study
from tuner.store.salvage import back_up, salvage
from tuner.store.sqlite_file import check_study_file


def records_of(paths: StudyPaths, file: Path) -> list[str]:
    return [repr(record) for record in read_study(paths, study="digits", url=str(file)).records]


def test_backup_is_the_study_also_during_a_run(paths: StudyPaths, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    with reopen(paths) as store:
        store.start([(SPACE.default(), 2, "tier 1")] * 3)
        train(store, 0, [0.5])
        store.flush()
        back_up(paths.database, copy)
        assert same(read_study(paths, study="digits", url=str(copy)).records, store.records())
    check_study_file(copy, thorough=True)


def test_no_file_is_overwritten(paths: StudyPaths, tmp_path: Path) -> None:
    make_study(paths)
    target = tmp_path / "precious.txt"
    target.write_text("precious")
    for action in (back_up, salvage):
        with pytest.raises(UsageError, match="exists already"):
            action(paths.database, target)
    assert target.read_text() == "precious"


def test_sound_file_is_saved_whole(paths: StudyPaths, tmp_path: Path) -> None:
    make_study(paths, num_trials=40)
    saved = salvage(paths.database, tmp_path / "new.db")
    assert (saved.studies, saved.num_trials, saved.lost, saved.num_unnamed) == (("digits",), 40, (), 0)
    assert records_of(paths, tmp_path / "new.db") == records_of(paths, paths.database)


def test_of_a_file_whose_header_is_gone_nothing_is_lost(paths: StudyPaths, tmp_path: Path) -> None:
    make_study(paths)
    whole = records_of(paths, paths.database)
    zeroed_header(paths.database)
    assert salvage(paths.database, tmp_path / "new.db").lost == ()
    assert records_of(paths, tmp_path / "new.db") == whole


def garbage_in_page(number: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with path.open("rb+") as file:
            file.seek(4096 * number)
            file.write(random.Random(0).randbytes(4096))

    return damage


def last_quarter_cut(path: Path) -> None:
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size * 3 // 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage",
    [zeroed_header, truncated, last_quarter_cut, *(garbage_in_page(number) for number in range(30, 90, 6))],
    ids=["header", "half", "quarter", *(f"page {number}" for number in range(30, 90, 6))],
)
def test_what_is_saved_of_a_damaged_file_is_true(
    paths: StudyPaths, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    make_study(paths, num_trials=120)
    whole = records_of(paths, paths.database)
    damage(paths.database)
    before = paths.database.read_bytes()
    new = tmp_path / "new.db"
    saved = salvage(paths.database, new)
    assert paths.database.read_bytes() == before
    check_study_file(new, thorough=True)
    found = records_of(paths, new)
    assert set(found) <= set(whole)
    assert len(found) == saved.num_trials
    missing = [number for number in range(120) if whole[number] not in found]
    assert missing[: len(saved.lost)] == list(saved.lost)
    assert len(missing) >= len(saved.lost) + saved.num_unnamed
    assert bool(missing) is bool(saved.lost or saved.num_unnamed)
    assert damage is not zeroed_header or not missing


@pytest.mark.slow
def test_saved_file_can_be_run_on(paths: StudyPaths, tmp_path: Path) -> None:
    make_study(paths, num_trials=60)
    garbage_in_page(40)(paths.database)
    new = tmp_path / "new.db"
    saved = salvage(paths.database, new)
    paths.database.unlink()
    new.rename(paths.database)
    with reopen(paths) as store:
        assert len(store.records()) == saved.num_trials
        number = store.start([(SPACE.default(), 2, "")])[0].number
        assert number not in [record.number for record in store.records()[:-1]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", [b"trial,accuracy\n", b"", random.Random(0).randbytes(20_000)], ids=["text", "empty", "noise"]
)
def test_file_that_is_no_database_saves_nothing(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "study.db"
    file.write_bytes(content)
    with pytest.raises(StorageError, match="nothing can be saved"):
        salvage(file, tmp_path / "new.db")
    assert list(tmp_path.iterdir()) == [file]


def test_database_of_another_program_saves_nothing(tmp_path: Path) -> None:
    file = tmp_path / "music.db"
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE music (title TEXT)")
    connection.close()
    with pytest.raises(StorageError, match="nothing can be saved"):
        salvage(file, tmp_path / "new.db")
