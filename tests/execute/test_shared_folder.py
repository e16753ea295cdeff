"""The file by which other machines tell that they see a study's folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuner.errors import StorageError
from tuner.execute.shared_folder import Token


def test_it_lies_in_the_folder_that_is_there_already_and_nothing_else_is_made(tmp_path: Path) -> None:
    token = Token(tmp_path / "results" / "digits")
    assert list(tmp_path.iterdir()) == [token.path]
    token.remove()
    token.remove()
    assert not list(tmp_path.iterdir())


def test_those_of_runs_that_were_killed_are_removed_and_no_others(tmp_path: Path) -> None:
    left, mine = Token(tmp_path), Token(tmp_path)
    other = tmp_path / ".tuner-on-another-machine.1.0.tmp"
    other.touch()
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    dead = left.path.with_name(left.path.name.replace(f".{os.getpid()}.", f".{pid}."))
    left.path.rename(dead)
    new = Token(tmp_path)
    assert set(tmp_path.iterdir()) == {mine.path, other, new.path}


def test_a_place_where_nothing_can_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(StorageError, match="Read-only"):
        Token(tmp_path)
