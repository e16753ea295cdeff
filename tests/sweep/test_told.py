"""What listeners were told of stays known, whatever becomes of a run."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.report.test_leaderboard import record
from tuner.records import EpochResult
from tuner.sweep.told import Told

CURVE = [
    EpochResult(
        epoch=epoch, train_loss=1.0, dev_loss=1.0, train_metric=0.5, dev_metric=0.5, learning_rate=0.1, seconds=0.0
    )
    for epoch in (1, 2, 3)
]


def heard_next(file: Path, *, stored: int) -> list[int]:
    """The epochs of trial 0 that the next run tells, whose record has so many."""
    with closing(Told(file)) as told:
        told.trust([replace(record(0, None), last=CURVE[stored - 1])])
        return [result.epoch for result in told.new(0, CURVE)]


def test_what_was_stored_and_not_told_when_a_run_ended_is_told_by_the_next(tmp_path: Path) -> None:
    """A disk that fills may take an epoch into the database and stop the run before its listeners hear of it."""
    with closing(Told(tmp_path / "told")) as told:
        told.begin(0)
        assert heard_next(tmp_path / "told", stored=2) == [1, 2, 3]
        told.note(0, 1)
        assert heard_next(tmp_path / "told", stored=2) == [2, 3]


def test_a_full_disk_takes_what_there_is_room_for_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(descriptor: int, start: int, size: int) -> None:
        raise OSError(28, "No space left on device")

    with closing(Told(tmp_path / "told")) as told:
        told.trust([])
        monkeypatch.setattr(os, "posix_fallocate", no_room)
        told.begin(0)  # its checkpoint may be on the disk before the run hears that it began
        told.note(900, 1)
        assert (tmp_path / "told").stat().st_size == 4096
        assert heard_next(tmp_path / "told", stored=3) == [1, 2, 3]
        told.note(0, 2)
    assert heard_next(tmp_path / "told", stored=3) == [3]


def test_of_a_file_that_a_power_cut_emptied_what_is_stored_counts_as_told(tmp_path: Path) -> None:
    for left in (b"", bytes(4096)):
        (tmp_path / "told").write_bytes(left)
        assert heard_next(tmp_path / "told", stored=2) == [3]
