"""Who writes the reports of a run: a process of its own, or the run itself where that one has ended."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.test_earlier import sweep
from tuner.errors import StorageError
from tuner.paths import StudyPaths
from tuner.records import Direction, EpochResult, TrialRecord, TrialState
from tuner.report import write
from tuner.report.terminal import Conclusion
from tuner.spec.defaults import build_space
from tuner.store.optuna_store import open_store
from tuner.sweep import reports
from tuner.sweep.reports import Reports, Wanted


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is a fork of this one: it has everything imported, and what a test puts in the place of something."""
    monkeypatch.setattr(reports, "APART", True)
    monkeypatch.setattr(reports, "free_bytes", lambda: 1 << 40)
    monkeypatch.setattr(reports, "fork_server", lambda spec: multiprocessing.get_context("fork"))


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    spec, paths = sweep("digits"), StudyPaths(tmp_path / "digits")
    space = build_space(spec)
    with open_store(paths, study="digits", direction=Direction.MAXIMIZE, metric="accuracy", space=space) as store:
        store.set("sweep", spec.model_dump(mode="json"))
    return Wanted(paths=paths, study="digits", url=None, in_full=True, basis=None)


@pytest.fixture
def process() -> Any:
    found = Reports()
    found.begin()
    yield found
    found.close()


def test_the_tables_are_there_when_it_is_said_what_is_in_them_and_then_the_page(
    wanted: Wanted, process: Reports
) -> None:
    writing = process.write(wanted)
    assert isinstance(next(writing), Conclusion)
    assert wanted.paths.leaderboard_json.exists()
    assert list(writing) == []
    assert wanted.paths.report_html.exists()


def test_the_run_writes_them_where_the_process_was_killed(wanted: Wanted, process: Reports) -> None:
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.join()
    assert len(list(process.write(wanted))) == 1
    assert wanted.paths.report_html.exists()


def test_a_crash_while_it_draws_loses_the_page_alone(
    wanted: Wanted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(write, "write_drawings", lambda *_: os._exit(3))
    process = Reports()
    process.begin()
    with caplog.at_level(logging.WARNING):
        assert len(list(process.write(wanted))) == 1
    assert wanted.paths.leaderboard_csv.exists()
    assert not wanted.paths.report_html.exists()
    assert "report.html has ended (3)" in caplog.text


def test_what_keeps_it_from_writing_is_raised_here(wanted: Wanted, process: Reports) -> None:
    wanted.paths.leaderboard_csv.mkdir()
    with pytest.raises(StorageError, match="the reports cannot be written"):
        list(process.write(wanted))


def _trial(number: int, *, epochs: int, to_epoch: int = 10, epoch_seconds: float = 60.0) -> TrialRecord:
    reached = EpochResult(
        epoch=epochs, train_loss=0.0, dev_loss=0.0, train_metric=0.0, dev_metric=0.0, learning_rate=0.1,
        seconds=epochs * epoch_seconds,
    )  # fmt: skip
    return TrialRecord(
        number=number, params={}, seed=0, state=TrialState.RUNNING, to_epoch=to_epoch, last=reached if epochs else None
    )


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    found: list[bool] = []
    monkeypatch.setattr(Reports, "begin", lambda self: found.append(True))
    return found


def test_it_begins_when_the_last_trial_is_near_its_end(begun: list[bool]) -> None:
    process = Reports()
    process.expect(2)
    process.started([_trial(0, epochs=0)])
    process.epochs(_trial(0, epochs=9), ())
    process.started([_trial(1, epochs=0)])
    process.epochs(_trial(1, epochs=1), ())
    assert not begun
    process.epochs(_trial(1, epochs=9), ())
    assert begun


@pytest.mark.parametrize("trial", [_trial(0, epochs=8, epoch_seconds=4.0), _trial(0, epochs=0, to_epoch=1)])
def test_it_begins_seconds_before_the_end_or_with_the_last_epoch(begun: list[bool], trial: TrialRecord) -> None:
    process = Reports()
    process.expect(1)
    process.started([_trial(0, epochs=0)])
    assert not begun
    process.started([trial])
    assert begun


def test_it_begins_when_one_of_the_last_trials_was_stopped_early(begun: list[bool]) -> None:
    process = Reports()
    process.expect(1)
    process.started([_trial(0, epochs=0)])
    process.ended(_trial(0, epochs=2))
    assert begun


@pytest.mark.parametrize(("epoch_seconds", "begins"), [(0.5, True), (2.0, False)])
def test_it_begins_with_the_last_training_where_all_before_it_were_short(
    begun: list[bool], epoch_seconds: float, begins: bool
) -> None:
    process = Reports()
    process.ended(_trial(0, epochs=10, epoch_seconds=epoch_seconds))
    process.ended(_trial(1, epochs=1, epoch_seconds=epoch_seconds))
    assert not begun
    process.expect(1)
    process.started([_trial(0, epochs=0)])
    assert bool(begun) is begins


def test_it_does_not_begin_in_a_search_that_finalists_follow(begun: list[bool]) -> None:
    process = Reports()
    process.started([_trial(999, epochs=9)])
    process.ended(_trial(999, epochs=10))
    assert not begun


def test_where_little_memory_is_free_trials_have_it(wanted: Wanted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "free_bytes", lambda: 1 << 29)
    process = Reports()
    process.begin()
    assert process._process is None
    assert len(list(process.write(wanted))) == 1
    assert wanted.paths.report_html.exists()
