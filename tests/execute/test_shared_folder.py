"""The file by which other machines tell that they see a study's folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner.errors import StorageError
from tuner.execute.shared_folder import Token, is_seen
from tuner.paths import StudyPaths
from tuner.sweep.study import sweep_up


def test_it_goes_with_the_folders_that_were_made_for_it(tmp_path: Path) -> None:
    token = Token(StudyPaths(tmp_path / "results" / "digits"))
    assert is_seen(token.path, said=token.said)
    token.remove()
    token.remove()
    assert not list(tmp_path.iterdir())
    assert not is_seen(token.path, said=token.said)


def test_folders_that_were_there_or_hold_something_stay(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    token = Token(StudyPaths(tmp_path / "results" / "digits"))
    (tmp_path / "results" / "digits" / "study.db").touch()
    token.remove()
    assert [path.name for path in (tmp_path / "results" / "digits").iterdir()] == ["study.db"]


def test_a_folder_of_the_same_name_on_another_disk_is_not_taken_for_it(tmp_path: Path) -> None:
    token = Token(StudyPaths(tmp_path / "here"))
    other = Token(StudyPaths(tmp_path / "there"))
    assert token.path.name == other.path.name
    assert not is_seen(other.path, said=token.said)
    other.path.write_bytes(b"\xff\x00")
    assert not is_seen(other.path, said=token.said)


def test_those_of_runs_that_were_killed_are_swept_up_by_the_next_run_of_any_engine(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path / "digits")
    mine = Token(paths)
    (tmp_path / "digits" / ".token.1.tmp").touch()
    sweep_up(paths)
    assert list(paths.folder.iterdir()) == [mine.path]


def test_a_place_where_nothing_can_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(StorageError, match="Read-only"):
        Token(StudyPaths(tmp_path / "results" / "digits"))
    assert not list(tmp_path.iterdir())
