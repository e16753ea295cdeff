"""What trackers are told: each epoch once, resumed runs as the same runs, and what was missed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.track.parts import Notes, ended, notes_in, record, result, study_in, write_curve
from tuner.paths import StudyPaths
from tuner.records import Direction, TrialState
from tuner.track import told
from tuner.track.told import TellTracker


@pytest.fixture
def paths(tmp_path: Path) -> StudyPaths:
    return study_in(tmp_path)


@contextmanager
def told_by_a_run(paths: StudyPaths, *before: object) -> Iterator[TellTracker]:
    """A run of the study; `before` is what it finds there."""
    tell = TellTracker(Notes("mine", paths, folder=paths.tracker("notes")))
    tell.opened(before, metric="accuracy", direction=Direction.MAXIMIZE)  # type: ignore[arg-type]
    yield tell
    tell.close()


def notes(paths: StudyPaths) -> list[str]:
    return notes_in(paths.tracker("notes"))


def test_a_trial_is_told_from_its_begin_to_its_end(paths: StudyPaths) -> None:
    with told_by_a_run(paths) as tell:
        tell.started([record(0, 0)])
        tell.epochs(record(0, 2), [result(1), result(2)])
        tell.ended(ended(0, 2))
        tell.finished(ended(0, 2))
    assert notes(paths) == [
        "open", "begin trial-0000 anew", "log trial-0000 [1, 2]", "end trial-0000 complete",
        "finish, best 0, trial-0000", "close",
    ]  # fmt: skip


def test_a_resumed_trial_goes_on_with_its_run_and_no_epoch_comes_twice(paths: StudyPaths) -> None:
    with told_by_a_run(paths) as tell:
        tell.started([record(0, 0)])
        tell.epochs(record(0, 2), [result(1), result(2)])
    assert notes(paths)[-2:] == ["suspend trial-0000", "close"]
    with told_by_a_run(paths, record(0, 2)) as tell:
        tell.started([record(0, 2)])
        tell.epochs(record(0, 3), [result(2), result(3)])
        tell.ended(ended(0, 3))
    assert notes(paths) == [
        "open", "begin trial-0000 id of trial-0000", "log trial-0000 [3]", "end trial-0000 complete", "close",
    ]  # fmt: skip


def test_what_was_missed_is_made_up_for_from_the_curve(paths: StudyPaths) -> None:
    with told_by_a_run(paths) as tell:
        write_curve(paths.trial(0), 5)
        tell.epochs(record(0, 1), [result(1)])
        tell.epochs(record(0, 4), [result(4)])  # 2 and 3 were dropped
        tell.ended(ended(0, 5))  # 5 was dropped
    assert [line for line in notes(paths) if "log" in line] == [
        "log trial-0000 [1]", "log trial-0000 [2, 3, 4]", "log trial-0000 [5]",
    ]  # fmt: skip


def test_a_tracker_that_is_switched_on_late_hears_of_the_trials_before(paths: StudyPaths) -> None:
    write_curve(paths.trial(0), 3)
    before = [ended(0, 3), record(1, 0, TrialState.PAUSED), ended(2, 0, TrialState.FAILED)]
    expected = ["begin trial-0000 anew", "log trial-0000 [1, 2, 3]", "end trial-0000 complete", "begin trial-0002 anew"]
    with told_by_a_run(paths, *before):
        assert notes(paths) == ["open", *expected, "end trial-0002 failed"]
    with told_by_a_run(paths, *before):
        assert notes(paths) == ["close", "open"]


def test_a_finalist_is_a_run_of_its_own_that_says_whose_it_is(paths: StudyPaths) -> None:
    with told_by_a_run(paths) as tell:
        tell.epochs(record(0, 1), [result(1)])
        tell.epochs(record(0, 1, finalist_of=35), [result(1)])
    assert {line.split()[1] for line in notes(paths) if "log" in line} == {"trial-0000", "finalist-0000-of-trial-35"}


def test_a_tracker_that_fails_begins_again_and_has_all_in_the_end(paths: StudyPaths) -> None:
    folder = paths.tracker("notes")
    with told_by_a_run(paths) as tell:
        write_curve(paths.trial(0), 2)
        tell.epochs(record(0, 1), [result(1)])
        (folder / "fail").touch()
        with pytest.raises(RuntimeError, match="the server is gone"):
            tell.epochs(record(0, 2), [result(2)])
        (folder / "fail").unlink()
        tell.ended(ended(0, 2))
    assert notes(paths)[3:] == [
        "begin trial-0000 id of trial-0000",
        "log trial-0000 [2]",
        "end trial-0000 complete",
        "close",
    ]


def test_a_server_that_is_not_there_at_first_is_asked_again(paths: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = paths.tracker("notes")
    (folder / "fail").touch()
    tell = TellTracker(Notes("mine", paths, folder=folder))
    with pytest.raises(RuntimeError):
        tell.opened([ended(0, 0)], metric="accuracy", direction=Direction.MAXIMIZE)
    (folder / "fail").unlink()
    with pytest.raises(ConnectionError):  # not at once: each attempt may take long
        tell.started([record(1, 0)])
    monkeypatch.setattr(told, "_AGAIN_SECONDS", 0.0)
    tell.started([record(2, 0)])
    assert notes(paths) == ["open", "begin trial-0000 anew", "end trial-0000 complete", "begin trial-0002 anew"]


def test_few_runs_are_open_at_a_time(paths: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told, "_MOST_OPEN", 2)
    with told_by_a_run(paths) as tell:
        tell.started([record(number, 0) for number in (0, 1)])
        tell.epochs(record(0, 1), [result(1)])
        tell.started([record(2, 0)])
        tell.epochs(record(1, 1), [result(1)])
        notes(paths)
    assert notes(paths) == ["suspend trial-0001", "suspend trial-0002", "close"]


def test_a_line_that_a_kill_has_cut_is_passed_over(paths: StudyPaths) -> None:
    with told_by_a_run(paths) as tell:
        tell.epochs(record(0, 1), [result(1)])
    with (paths.tracker("notes") / "runs.jsonl").open("a") as file:
        file.write('{"name": "trial-00')
    for epoch in (2, 3):
        with told_by_a_run(paths) as tell:
            tell.epochs(record(0, epoch), [result(epoch)])
        assert f"log trial-0000 [{epoch}]" in notes(paths)
