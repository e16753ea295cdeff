"""A study whose trials have curve files, and a tracker that writes down what it is told."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tuner.paths import StudyPaths, TrialPaths
from tuner.records import FINALIST, EpochResult, Params, TrialRecord, TrialState
from tuner.track.tracker import TrackedRun, Tracker

PARAMS: Params = {"learning_rate": 0.1, "optimizer": "adam", "nesterov": True}


def result(epoch: int) -> EpochResult:
    return EpochResult(
        epoch=epoch, train_loss=1 / epoch, dev_loss=2 / epoch, train_metric=0.1 * epoch, dev_metric=0.09 * epoch,
        learning_rate=0.1, seconds=0.5 * epoch,
    )  # fmt: skip


def record(
    number: int, epochs: int, state: TrialState = TrialState.RUNNING, *, finalist_of: int | None = None
) -> TrialRecord:
    of = {} if finalist_of is None else {"repeat_of": finalist_of, "repeat": 1, "repeats": 2}
    last = result(epochs) if epochs else None
    return TrialRecord(
        number=number, params=PARAMS, seed=7, state=state, tier="tier 1" if finalist_of is None else FINALIST,
        reason="all epochs" if state.final else "", best=last, last=last, facts=of,
    )  # fmt: skip


def ended(number: int, epochs: int, state: TrialState = TrialState.COMPLETE) -> TrialRecord:
    return record(number, epochs, state)


def write_curve(files: TrialPaths, epochs: int) -> None:
    files.folder.mkdir(parents=True, exist_ok=True)
    with files.curve.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*asdict(result(1))])
        writer.writeheader()
        writer.writerows(asdict(result(epoch)) for epoch in range(1, epochs + 1))


def study_in(folder: Path) -> StudyPaths:
    paths = StudyPaths((folder / "mine").resolve())
    paths.tracker("notes").mkdir(parents=True, exist_ok=True)
    return paths


class Notes(Tracker):
    """Writes down what it is told, and does what files in its folder ask for: fail, hang, die."""

    def open(self) -> str:
        self._note("open")
        return "in its notes"

    def begin(self, run: TrackedRun, record: TrialRecord) -> None:
        self._note(f"begin {run.name} {run.id or 'anew'}")
        run.id = run.id or f"id of {run.name}"

    def log(self, run: TrackedRun, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        self._note(f"log {run.name} {[r.epoch for r in results]}")

    def end(self, run: TrackedRun, record: TrialRecord) -> None:
        self._note(f"end {run.name} {record.state}")

    def suspend(self, run: TrackedRun) -> None:
        self._note(f"suspend {run.name}")

    def finish(self, run: TrackedRun | None, best: TrialRecord | None) -> None:
        self._note(f"finish, best {None if run is None or best is None else f'{best.number}, {run.name}'}")

    def close(self) -> None:
        self._note("close")

    def _note(self, line: str) -> None:
        if (self.folder / "fail").exists():
            raise RuntimeError("the server is gone")
        if (self.folder / "die").exists():
            raise SystemExit(3)
        while (self.folder / "hang").exists():
            time.sleep(0.01)
        with (self.folder / "notes.txt").open("a") as file:
            file.write(line + "\n")


def notes_in(folder: Path) -> list[str]:
    """What was written down since the last time."""
    path = folder / "notes.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines
