"""A tracker's process: whatever it does, the run goes on, and says once what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.track.parts import ended, notes_in, record, result
from tuner.errors import MissingExtraError
from tuner.paths import StudyPaths
from tuner.records import Direction
from tuner.spec.model import DataSpec, SweepSpec
from tuner.track import beside
from tuner.track.beside import TrackerBeside, open_trackers

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr(beside, "_LAST_SECONDS", 600.0)
    monkeypatch.setattr(beside, "_LAST_SILENT_SECONDS", 600.0)


class Run:
    """What a run does with the tracker `Notes`."""

    def __init__(self, folder: Path, *, before: Callable[[Path], object] = lambda folder: None) -> None:
        self.paths = StudyPaths((folder / "mine").resolve())
        self.folder = self.paths.tracker("Notes")
        self.folder.mkdir(parents=True)
        before(self.folder)
        self.spec = SweepSpec(
            study="mine",
            data=DataSpec(source="x"),
            root=str(Path(__file__).parents[2]),
            track=["tests.track.parts:Notes"],
        )
        self.said: list[str] = []

    def go(
        self, while_it_trains: Callable[[], object] = lambda: None, *, at_once: bool = False, trials: int = 1
    ) -> None:
        with open_trackers(self.spec, self.paths, say=self.said.append) as trackers:
            trackers.opened((), metric="accuracy", direction=Direction.MAXIMIZE)
            for number in range(trials):
                trackers.started([record(number, 0)])
                trackers.epochs(record(number, 1), [result(1)])
                trackers.ended(ended(number, 1))
            while_it_trains()
            trackers.conclude(complete=True, best=ended(0, 1), at_once=at_once)


def test_it_hears_of_everything_and_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(tmp_path)
    run.go(trials=2)
    notes = notes_in(run.folder)
    assert notes[:4] == ["open", "begin trial-0000 anew", "log trial-0000 [1]", "end trial-0000 complete"]
    assert notes[-2:] == ["finish, best 0, trial-0000", "close"]
    assert (run.said, caplog.messages) == (["tests.track.parts:Notes: in its notes"], [])


def test_one_that_fails_is_warned_of_once_and_what_it_lost_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path, before=lambda folder: (folder / "fail").touch())
    run.go(trials=2)
    first, last = caplog.messages
    assert "failed; the sweep goes on without waiting for it: RuntimeError: the server is gone" in first
    assert "8 events were dropped" in last
    assert "the server is gone" in (run.folder / "log.txt").read_text()


def test_one_that_dies_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = Run(tmp_path, before=lambda folder: (folder / "die").touch())
    run.go()
    assert "has ended; the sweep goes on without it" in caplog.messages[0]
    assert "dropped" in caplog.messages[1]


def test_one_that_hangs_holds_nobody_up_and_is_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "_SILENT_SECONDS", 0.01)
    monkeypatch.setattr(beside, "_AT_ONCE_SECONDS", 0.1)
    run = Run(tmp_path, before=lambda folder: (folder / "hang").touch())
    made: list[TrackerBeside] = []
    start = TrackerBeside._start
    monkeypatch.setattr(TrackerBeside, "_start", lambda self: (made.append(self), start(self))[1])

    def until_it_is_asked() -> None:
        while not made[0]._asked:
            time.sleep(0.01)
        time.sleep(0.02)

    run.go(until_it_is_asked, at_once=True)
    first, last = caplog.messages
    assert "has not answered" in first
    assert "events were dropped" in last
    assert made[0]._process is None


def test_epochs_that_wait_are_one_message_for_each_trial_and_no_more_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "_MOST_WAITING", 4)
    tracker = TrackerBeside("notes", None, say=print)  # type: ignore[arg-type]
    for epoch in (1, 2, 3):
        tracker.epochs(record(0, epoch), [result(epoch)])
        tracker.epochs(record(1, epoch), [result(epoch)])
    waiting = [
        (m.record.number, [r.epoch for r in m.results]) for m in tracker._waiting if isinstance(m, beside._Epochs)
    ]
    assert waiting == [(0, [1, 2]), (1, [1, 2])]
    assert tracker._dropped == 2
    tracker.ended(ended(0, 3))
    assert tracker._last_epochs.keys() == {("tier 1", 1)}


def test_what_is_not_installed_is_refused_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    spec = SweepSpec(study="mine", data=DataSpec(source="x"), track=["wandb"])
    with (
        pytest.raises(MissingExtraError, match=r'pip install "tuner\[wandb\]"'),
        open_trackers(spec, StudyPaths(tmp_path / "mine"), say=print),
    ):
        pass
    assert not (tmp_path / "mine").exists()
