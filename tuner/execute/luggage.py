"""What travels with messages where a machine does not see the study's folder: files of trials, and the user's code.

There a host has a scratch folder for all workers of the machine, laid out as the study's. The coordinator is sent what
changes in it, and sends along what a job goes on from.
"""

from __future__ import annotations

import fcntl
import io
import os
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from tuner.errors import DataError
from tuner.execute.printed import append
from tuner.paths import StudyPaths, TrialPaths, beside, own_place
from tuner.records import EpochsFinished, TrialEvent, TrialJob, TrialStarted

Files: TypeAlias = Mapping[str, bytes | None]
"""Contents by path from the study's folder; of a log what is to be appended. None: it is there no more."""

CHECKPOINT_SECONDS = 5.0
"""A trial's checkpoint is sent no more often than this while it trains; when it pauses or ends, at once."""
SETTLED_SECONDS = 1.0
"""What users' code keeps is whole when none of it has been written to for so long."""
MOST_BYTES = 2**29
"""Of code and data beside a sweep file that travel."""
_OTHERS = {"__pycache__", "node_modules"}
_NAME = "tuner-scratch-"


def files_of_jobs(paths: StudyPaths, jobs: Sequence[TrialJob]) -> Files:
    """What the trials of these jobs go on from."""
    return {
        str(file.relative_to(paths.folder)): file.read_bytes()
        for job in jobs
        for file in _of_a_trial(TrialPaths(Path(job.folder)))
        if file != TrialPaths(Path(job.folder)).log
    }


def put(paths: StudyPaths, files: Files) -> None:
    """Write files that have come into a study's folder, each as a whole."""
    for name, content in files.items():
        to = own_place(paths.folder / name)
        if content is None:
            to.unlink(missing_ok=True)
            continue
        is_log = to == TrialPaths(to.parent).log and to.parent.parent in (paths.trials, paths.finalists)
        if is_log or to == paths.log:
            append(to, content)
            continue
        to.parent.mkdir(parents=True, exist_ok=True)
        half = beside(to)
        half.write_bytes(content)
        half.replace(to)


def code_beside(root: Path, *, but: Path) -> bytes:
    """All files below the sweep file's folder, packed; without results, environments, caches and what is hidden.

    Args:
        root: The sweep file's folder.
        but: A folder that is left out, that of the results.

    Raises:
        DataError: they are too large to travel.
    """
    packed, size = io.BytesIO(), 0
    with zipfile.ZipFile(packed, "w") as archive:
        for file in _beside_a_sweep(root, but=but.resolve()):
            size += file.stat().st_size
            if size > MOST_BYTES:
                raise DataError(
                    f"a node of the cluster does not see {root}, and what lies there is more than the "
                    f"{MOST_BYTES // 2**20} MiB that are sent to it (counted up to {file}); put the sweep file's "
                    "folder on a file system that all nodes share, or the data at the same path on each of them"
                )
            archive.write(file, file.relative_to(root))
    return packed.getvalue()


def _of_a_trial(paths: TrialPaths) -> Iterator[Path]:
    """All files that it goes on from, or that are its results, those in its own checkpoint's folder included."""
    found = _files_below(paths.folder)
    return (file for file in found if file.suffix != ".tmp" and file != paths.previous_checkpoint)


def _files_below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (file for name in sorted(names) if (file := Path(place, name)).is_file())


def _are_settled(files: Sequence[Path]) -> bool:
    """Whether nobody is writing to any of them."""
    try:
        return all(time.time() - file.stat().st_mtime >= SETTLED_SECONDS for file in files)
    except FileNotFoundError:
        return False


def _beside_a_sweep(root: Path, *, but: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(root):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in _OTHERS
            and not (here / name / "pyvenv.cfg").exists()
            and (here / name).resolve() != but
        )
        yield from (here / name for name in sorted(names) if not name.startswith(".") and (here / name).is_file())


@dataclass(slots=True)
class _Sent:
    """What of a trial has been sent."""

    stamps: dict[str, tuple[int, int]] = field(default_factory=dict)
    seconds: float = field(default_factory=time.monotonic)
    """When a checkpoint was sent last, or the trial came."""


class Scratch:
    """A host's place for what its workers write, where nobody else looks."""

    def __init__(self, name: str, study: Path) -> None:
        """Make it, and remove those of hosts that are no more.

        Args:
            name: The same for all hosts of a run.
            study: The study's folder, where the coordinator is.
        """
        base = Path(tempfile.gettempdir()) / f"{_NAME}{name}"
        base.mkdir(exist_ok=True)
        self._held: BinaryIO = (base / "held").open("ab")
        fcntl.flock(self._held, fcntl.LOCK_SH)
        for other in base.parent.glob(f"{_NAME}*"):
            if other != base:
                _remove_if_left(other)
        self.code = base / "code"
        self.paths = StudyPaths(base / "results" / study.name)
        self._study = study
        self._sent: dict[str, _Sent] = {}
        """By a trial's folder, from the study's."""
        self._study_stamps: dict[str, tuple[int, int]] = {}
        self._one_at_a_time = threading.Lock()

    def leave(self) -> None:
        """Remove it, if no other host is there."""
        self._held.close()
        _remove_if_left(self.code.parent)

    def unpack_code(self, packed: bytes) -> Path:
        """Where the sweep file's folder is now; one host of the machine writes it."""
        lock = self.code.with_suffix(".lock")
        with lock.open("ab") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if not self.code.exists():
                half = self.code.with_suffix(".half")
                shutil.rmtree(half, ignore_errors=True)
                zipfile.ZipFile(io.BytesIO(packed)).extractall(half)
                half.rename(self.code)
        return self.code

    def take(self, jobs: Sequence[TrialJob], files: Files) -> list[TrialJob]:
        """The jobs as they are to be done here, with what they go on from."""
        names = [str(Path(job.folder).relative_to(self._study)) for job in jobs]
        with self._one_at_a_time:
            for name in names:
                shutil.rmtree(self.paths.folder / name, ignore_errors=True)
                self._sent[name] = _Sent()
            put(self.paths, files)
            for name in names:
                self._changed(name, all_of_it=True)  # what has just come need not go back
        return [replace(job, folder=str(self.paths.folder / name)) for job, name in zip(jobs, names, strict=True)]

    def pack(self, messages: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """The messages, behind the files that they tell of."""
        events: list[TrialEvent] = [e for verb, *rest in messages if verb == "events" for e in rest[0]]
        died = any(verb == "died" for verb, *_ in messages)
        ended = {e.trial for e in events if not isinstance(e, EpochsFinished | TrialStarted)}
        files: dict[str, bytes | None] = {}
        with self._one_at_a_time:
            for name in list(self._sent):
                over = died or int(Path(name).name) in ended
                if over or time.monotonic() - self._sent[name].seconds >= CHECKPOINT_SECONDS:
                    files |= self._changed(name, all_of_it=over)
                if over:
                    del self._sent[name]
                    shutil.rmtree(self.paths.folder / name, ignore_errors=True)
            if events:
                files |= self._of_the_study()
        return [("files", files), *messages] if files else [*messages]

    def _changed(self, name: str, *, all_of_it: bool) -> Files:
        """Files of a trial that were written since they were sent; only what it goes on from if not all of them."""
        trial, sent = TrialPaths(self.paths.folder / name), self._sent[name]
        own = list(_files_below(trial.own_checkpoint))
        if all_of_it:
            found = list(_of_a_trial(trial))
        elif own and _are_settled(own):
            found = [*own, trial.progress]  # which tells at least of the epochs that the others stand for
        else:
            found, own = [trial.checkpoint], []
        stamps = dict(sent.stamps)
        files = self._read(iter(found), stamps)
        if not all_of_it and not _are_settled(own):  # no longer
            return {}
        if all_of_it or own:
            there = {self._name(file) for file in own}
            below = f"{self._name(trial.own_checkpoint)}/"
            gone = {name for name in stamps if name.startswith(below)} - there
            files |= dict.fromkeys(gone)
            stamps = {name: stamp for name, stamp in stamps.items() if name not in gone}
        sent.stamps = stamps
        if files:
            sent.seconds = time.monotonic()
        return files

    def _of_the_study(self) -> Files:
        dev = (self.paths.dev_targets, self.paths.dev_examples, self.paths.dev_rows, self.paths.dev_images)
        files = self._read(iter((*dev, self.paths.dev_groups, self.paths.log)), self._study_stamps)
        self.paths.log.unlink(missing_ok=True)
        return files

    def _name(self, file: Path) -> str:
        return str(file.relative_to(self.paths.folder))

    def _read(self, found: Iterator[Path], stamps: dict[str, tuple[int, int]]) -> dict[str, bytes | None]:
        files: dict[str, bytes | None] = {}
        for file in found:
            with suppress(FileNotFoundError):
                name, state = self._name(file), file.stat()
                stamp = state.st_mtime_ns, state.st_size
                if stamps.get(name) != stamp:
                    files[name] = file.read_bytes()
                    stamps[name] = stamp
        return files


def _remove_if_left(folder: Path) -> None:
    """Remove a scratch folder that no host holds."""
    with suppress(OSError), (folder / "held").open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
