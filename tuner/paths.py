"""Where everything of a study lies on disk; no other file joins these names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TrialPaths:
    """The files of one trial."""

    folder: Path

    @property
    def checkpoint(self) -> Path:
        """All that is needed to go on: parameters, optimiser state, best weights, curve, counters."""
        return self.folder / "checkpoint.pt"

    @property
    def previous_checkpoint(self) -> Path:
        """The checkpoint before the last, used when the last one is damaged."""
        return self.folder / "checkpoint.previous.pt"

    @property
    def new_checkpoint(self) -> Path:
        """A checkpoint that is being written; it becomes the last one when it is whole."""
        return self.folder / "checkpoint.tmp"

    @property
    def own_checkpoint(self) -> Path:
        """Folder of what the user's own training code keeps, to go on from."""
        return self.folder / "checkpoint"

    @property
    def progress(self) -> Path:
        """What the user's own training code has reported so far, JSON."""
        return self.folder / "progress.json"

    @property
    def report(self) -> Path:
        """Where a user's command may append its reports."""
        return self.folder / "report.jsonl"

    @property
    def curve(self) -> Path:
        """One CSV row for each epoch: the fields of `EpochResult`."""
        return self.folder / "curve.csv"

    @property
    def weights(self) -> Path:
        """State dict of the best epoch."""
        return self.folder / "weights.pt"

    @property
    def predictions(self) -> Path:
        """Dev predictions of the best epoch, NPY, shape (dev examples, outputs): probabilities or targets."""
        return self.folder / "predictions.npy"

    @property
    def log(self) -> Path:
        """What the trial printed, and the traceback that ended it."""
        return self.folder / "log.txt"


@dataclass(frozen=True, slots=True)
class StudyPaths:
    """The folder of one study: `results/<study>/`."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "study.db"

    @property
    def log(self) -> Path:
        return self.folder / "run.log"

    @property
    def dev_targets(self) -> Path:
        """Targets of the dev examples, NPY: class indices of shape (examples,), or (examples, outputs)."""
        return self.folder / "dev_targets.npy"

    @property
    def leaderboard_csv(self) -> Path:
        return self.folder / "leaderboard.csv"

    @property
    def leaderboard_md(self) -> Path:
        return self.folder / "leaderboard.md"

    @property
    def leaderboard_json(self) -> Path:
        return self.folder / "leaderboard.json"

    @property
    def report_html(self) -> Path:
        return self.folder / "report.html"

    @property
    def plots(self) -> Path:
        return self.folder / "plots"

    @property
    def best(self) -> Path:
        """params.yaml, weights.pt and the reproduce command of the best trial."""
        return self.folder / "best"

    @property
    def trials(self) -> Path:
        return self.folder / "trials"

    @property
    def finalists(self) -> Path:
        """The finalists' re-trainings."""
        return self.folder / "finalists"

    @property
    def told(self) -> Path:
        """Of how many epochs of each trial the listeners have been told."""
        return self.folder / "trials.told"

    @property
    def finalists_told(self) -> Path:
        """The same of the finalists' re-trainings."""
        return self.folder / "finalists.told"

    @property
    def tables(self) -> Path:
        """Arrays that streamed tables were turned into, for all workers."""
        return self.folder / "tables"

    @property
    def pending(self) -> Path:
        """Events that the database could not take yet."""
        return self.folder / "pending"

    def trial(self, number: int) -> TrialPaths:
        return TrialPaths(self.trials / f"{number:04d}")

    def finalist(self, number: int) -> TrialPaths:
        """A finalist's re-training, numbered within the study's finalists."""
        return TrialPaths(self.finalists / f"{number:04d}")
