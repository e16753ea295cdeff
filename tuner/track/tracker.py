"""The seam of the trackers: what one is told of a study, run by run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tuner.paths import StudyPaths
from tuner.records import FINALIST, Direction, EpochResult, TrialRecord


@dataclass(slots=True)
class TrackedRun:
    """A trial, or a finalist's re-training, as a tracker knows it over all runs of the study."""

    name: str
    """`trial-0003`, or `finalist-0003`: the number within the study, or within its finalists."""
    id: str = ""
    """What the tracker calls it; set in `begin` the first time, and kept."""
    epochs: int = 0
    """Logged so far."""
    ended: bool = False
    """Whether its end has been logged."""


class Tracker:
    """Base of the trackers. It lives in a process of its own: it may wait, raise or die, and no sweep minds.

    For each run `begin` comes first, then `log` in the order of the epochs, then `end`. A run that was set aside, or
    that another run of the study began, begins again: with its `id`, so that it is continued and not made twice.
    """

    def __init__(self, study: str, paths: StudyPaths, *, folder: Path) -> None:
        """
        Args:
            study: Its name.
            paths: Where its files lie.
            folder: The tracker's own, to write what it has to; it exists.
        """
        self.study = study
        self.paths = paths
        self.folder = folder
        self.metric = ""
        self.direction = Direction.MAXIMIZE

    def open(self) -> str:
        """Prepare; `metric` and `direction` are known now. Returns where people will see it, in words."""
        return ""

    def begin(self, run: TrackedRun, record: TrialRecord) -> None:
        """A run is trained from now on, for the first time or again."""

    def log(self, run: TrackedRun, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        """It has finished these epochs, none of which was logged before."""

    def end(self, run: TrackedRun, record: TrialRecord) -> None:
        """It has its final state, and all its epochs were logged. Nothing more is said of it."""

    def suspend(self, run: TrackedRun) -> None:
        """Others are in training now, or the sweep is stopped: let go of what is held for the run."""

    def finish(self, run: TrackedRun | None, best: TrialRecord | None) -> None:
        """The sweep is done, and its report and the best weights are written: those of this run, if there is one."""

    def close(self) -> None:
        """All runs were set aside; nothing comes after it."""

    def values_of(self, result: EpochResult) -> dict[str, float]:
        """What an epoch measured, by the names that all trackers give it."""
        found = {"train/loss": result.train_loss, "dev/loss": result.dev_loss}
        if self.metric != "loss":
            found |= {f"train/{self.metric}": result.train_metric, f"dev/{self.metric}": result.dev_metric}
        return {**found, "learning_rate": result.learning_rate}

    def outcome_of(self, record: TrialRecord) -> dict[str, float]:
        """What a run has come to, beside its hyperparameters."""
        value = {} if record.value is None or not math.isfinite(record.value) else {f"best/{self.metric}": record.value}
        return {**value, "epochs": float(record.epochs), "seconds": record.seconds}


def is_finalist(record: TrialRecord) -> bool:
    return record.tier == FINALIST


def marks_of(record: TrialRecord) -> Mapping[str, str]:
    """What to mark a run by, as texts: where it comes from, how it stands and, for a finalist, whose it is."""
    found = {"tier": record.tier, "state": str(record.state), "reason": record.reason}
    if is_finalist(record):
        found["finalist_of"] = f"trial {record.facts.get('repeat_of')}"
    return {name: text for name, text in found.items() if text}
