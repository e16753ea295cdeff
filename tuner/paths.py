"""Where everything of a study lies on disk, and what may be written there; no other file joins these names."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

EXPORTED_NETWORKS = ("network.json", "network.pt2")
"""A folder that was exported has one of them: how the user's own code builds the network, or a traced program."""
_TEMPORARY = re.compile(r"\.(?P<name>.+)\.\d+\.tmp")
"""The name of a file that `beside` names."""


class LinkInStudyError(OSError):
    """Something in a study's folder is a link, or no ordinary file: what is written there would go elsewhere."""

    def __init__(self, path: Path | str, what: str) -> None:
        super().__init__(
            f"{path} is {what}; inside a study's folder nothing is written or removed through such a thing. "
            "Remove it, or put the whole folder of the study elsewhere and make that folder the link"
        )


def own_place(path: Path) -> Path:
    """The path, once it is certain that what is written there, or removed, lies in the study's folder itself.

    Args:
        path: In the folder of a study, which is given without links: `StudyPaths(folder.resolve())`.

    Raises:
        LinkInStudyError: a part of it is a link, or what is there is neither an ordinary file nor a folder.
    """
    if os.path.realpath(path) != os.path.normpath(path.absolute()):
        link = next((part for part in (*reversed(path.parents), path) if part.is_symlink()), path)
        raise LinkInStudyError(link, f"a link to {os.path.realpath(link)}")
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return path  # not there yet; whoever writes will say what keeps it from being there
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise LinkInStudyError(path, "a named pipe, a socket or a device")
    return path


def beside(path: Path) -> Path:
    """Where a file of this process is written before it takes the place of `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def left_beside(folder: Path, *, named: Callable[[str], bool]) -> list[Path]:
    """Such files in a folder, for files of certain names: of processes that were killed, if no other writes there."""
    found = ((path, _TEMPORARY.fullmatch(path.name)) for path in folder.glob(".*.tmp"))
    return [path for path, match in found if match and named(match["name"])]


def prepared_data(results: Path) -> Path:
    """Folder of the prepared data of all studies whose folders lie in this one."""
    return results / ".data"


def samples_beside(predictions: Path) -> Path:
    """Where lies what a metric of the user's makes of predictions: NPY, first of them all, then of resamples."""
    return predictions.with_suffix(".samples.npy")


def is_url(path: str) -> bool:
    """Whether this names something on a server, which as a path would be a folder called `s3:`."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", path) is not None


def sqlite_files(database: Path) -> tuple[Path, ...]:
    """A SQLite database, and what may lie beside it."""
    return tuple(database.with_name(f"{database.name}{end}") for end in ("", "-wal", "-shm", "-journal"))


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
    def monte_carlo_predictions(self) -> Path:
        """The same with dropout on, the mean of several passes; where these are asked for."""
        return self.folder / "monte_carlo_predictions.npy"

    @property
    def samples(self) -> Path:
        """A metric of the user's on resamples of the dev set; see `samples_beside`."""
        return samples_beside(self.predictions)

    @property
    def log(self) -> Path:
        """What the trial printed, and the traceback that ended it."""
        return self.folder / "log.txt"

    @property
    def places(self) -> tuple[Path, ...]:
        """All that is written for the trial."""
        checkpoints = (self.checkpoint, self.previous_checkpoint, self.new_checkpoint, self.own_checkpoint)
        return (
            *checkpoints,
            self.progress,
            self.report,
            self.curve,
            self.weights,
            self.predictions,
            self.samples,
            self.monte_carlo_predictions,
            self.log,
        )


@dataclass(frozen=True, slots=True)
class StudyPaths:
    """The folder of one study: `results/<study>/`."""

    folder: Path

    @property
    def database(self) -> Path:
        return self.folder / "study.db"

    @property
    def database_files(self) -> tuple[Path, ...]:
        """The database, and what SQLite writes beside it."""
        return sqlite_files(self.database)

    @property
    def log(self) -> Path:
        return self.folder / "run.log"

    @property
    def dev_targets(self) -> Path:
        """Targets of the dev examples, NPY: class indices of shape (examples,), or (examples, outputs)."""
        return self.folder / "dev_targets.npy"

    @property
    def dev_rows(self) -> Path:
        """Rows of the source that the dev examples were read from, NPY, counted from 1; where they are known."""
        return self.folder / "dev_rows.npy"

    @property
    def dev_examples(self) -> Path:
        """With repeated folds, which example each of the dev targets is of, NPY: an example is there once a repeat."""
        return self.folder / "dev_examples.npy"

    @property
    def dev_images(self) -> Path:
        """The dev images as bytes, NPY of shape (examples, channels * height * width), where they are not too many."""
        return self.folder / "dev_images.npy"

    @property
    def dev_groups(self) -> Path:
        """The groups of the dev examples that scores are reported by, CSV with a column for each way; where asked."""
        return self.folder / "dev_groups.csv"

    @property
    def mistakes(self) -> Path:
        """Tables of what the winner gets wrong, a folder for dev and one for test."""
        return self.folder / "mistakes"

    @property
    def baselines(self) -> Path:
        """Folder of what the simple models predict that networks are held against."""
        return self.folder / "baselines"

    def baseline(self, name: str) -> Path:
        """Dev predictions of one of them, like those of a trial."""
        return self.baselines / f"{name}.npy"

    @property
    def test(self) -> Path:
        """Folder of what was predicted of the test examples when they were last opened."""
        return self.folder / "test"

    def tested(self, name: str) -> Path:
        """`targets`, like those of the dev examples; `predictions` of the final choice, and of baselines by name."""
        return self.test / f"{name}.npy"

    @property
    def tested_groups(self) -> Path:
        """Like those of the dev examples."""
        return self.test / "groups.csv"

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
    def conclusion(self) -> Path:
        """What was said at the end of a finished study, and what of, JSON; see `tuner.sweep.finished`."""
        return self.folder / "conclusion.json"

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
    def on_parts(self) -> Path:
        """The winner's trainings on parts of the training examples, for its learning curve."""
        return self.folder / "learning-curve"

    @property
    def refit(self) -> TrialPaths:
        """The winner's training on train and dev together, and what is known of it."""
        return TrialPaths(self.folder / "refit")

    @property
    def refit_facts(self) -> Path:
        """What is known of it, JSON; written last, once it is whole."""
        return self.refit.folder / "refit.json"

    @property
    def told(self) -> Path:
        """Of how many epochs of each trial the listeners have been told."""
        return self.folder / "trials.told"

    @property
    def finalists_told(self) -> Path:
        """The same of the finalists' re-trainings."""
        return self.folder / "finalists.told"

    @property
    def on_parts_told(self) -> Path:
        """The same of the trainings on parts of the training examples."""
        return self.folder / "learning-curve.told"

    @property
    def tables(self) -> Path:
        """Arrays that streamed tables were turned into, for all workers."""
        return self.folder / "tables"

    @property
    def prepared(self) -> Path:
        """Data as they are trained on, for the workers of all studies beside this one."""
        return prepared_data(self.folder.parent)

    @property
    def given(self) -> Path:
        """Examples and functions that the sweep was given as objects, from Python."""
        return self.folder / "given"

    @property
    def token(self) -> Path:
        """What other machines look for, to tell whether they see the folder; see `execute.shared_folder`."""
        return self.folder / "token"

    @property
    def notes(self) -> Path:
        """What people noted of the study and its trials, a JSON value in each line."""
        return self.folder / "notes.jsonl"

    @property
    def trackers(self) -> Path:
        """Folder of what trackers keep of the study, each in a folder of its own."""
        return self.folder / "trackers"

    def tracker(self, name: str) -> Path:
        return self.trackers / name

    @property
    def pending(self) -> Path:
        """Events that the database could not take yet."""
        return self.folder / "pending"

    @property
    def places(self) -> tuple[Path, ...]:
        """All that is written for the study itself."""
        reports = (
            self.leaderboard_csv,
            self.leaderboard_md,
            self.leaderboard_json,
            self.report_html,
            self.conclusion,
            self.plots,
            self.mistakes,
        )
        best = (self.best / name for name in ("", "params.yaml", "sweep.yaml", "weights.pt", "predict.py"))
        again = (self.finalists, self.finalists_told, self.on_parts, self.on_parts_told)
        trials = (self.trials, self.told, *again, self.baselines, self.test, self.mistakes)
        dev = (self.dev_targets, self.dev_examples, self.dev_rows, self.dev_images, self.dev_groups)
        refit = (self.refit.folder, *self.refit.places, self.refit_facts)
        own = (*self.database_files, self.log, *dev, *reports, *best, *trials, *refit)
        return (*own, self.tables, self.given, self.notes, self.trackers, self.token, self.pending)

    def check_places(self) -> None:
        """Make sure that all that will be written lies in the folder itself, before anything is.

        Raises:
            LinkInStudyError: something leads elsewhere.
        """
        for place in self.places:
            own_place(place)
        for trials in (self.trials, self.finalists, self.on_parts):
            for folder in trials.iterdir() if trials.is_dir() else ():
                own_place(folder)
                for place in TrialPaths(folder).places:
                    if place.is_symlink() or not (place.is_file() or place.is_dir() or not place.exists()):
                        own_place(place)

    def trial(self, number: int) -> TrialPaths:
        return TrialPaths(self.trials / f"{number:04d}")

    def finalist(self, number: int) -> TrialPaths:
        """A finalist's re-training, numbered within the study's finalists."""
        return TrialPaths(self.finalists / f"{number:04d}")

    def on_part(self, number: int) -> TrialPaths:
        """A training on a part of the training examples, numbered within these."""
        return TrialPaths(self.on_parts / f"{number:04d}")
