"""The rig: starts real runs of one study, does them harm, resumes them, and audits what is left.

rig.start()                       a run begins
rig.wait_until("trial 3 complete")
rig.kill("coordinator")           SIGKILL; also "worker", "fork server", "session"
rig.resume()                      the same command again, to its end
rig.audit(complete=True)          every promise of docs/reliability.md that can be checked from outside
"""

from __future__ import annotations

import csv
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.execute.processes import at_home, children, eventually, group, is_fork_server, marked
from tests.reliability.audit import audit
from tests.reliability.launch import Command, Launcher, launch, wait_for
from tests.store.studies import mounts_of
from tuner.errors import StudyNotFoundError
from tuner.paths import StudyPaths
from tuner.records import TrialRecord, TrialState
from tuner.store.reader import read_study
from tuner.store.sqlite_file import on_network_drive
from tuner.train.loop.checkpoint import read_checkpoint

ENDED = re.compile(r"^trial (\d+) (complete|pruned|failed): dev (\S+), (\d+) epochs, [\d.]+ s \((.*)\) ", re.MULTILINE)
WENT_ON = re.compile(
    r"^trial (\d+) goes on (?:after epoch (\d+)|from its start|after step (\d+) of epoch (\d+))$", re.MULTILINE
)
Place = tuple[int, int]
"""Where a trial's training stands: finished epochs, and steps of the next one."""
CLOCKED = ("seconds",)
"""Columns of the leaderboard that a clock fills."""
MARK = "TUNER_RIG"
"""A variable that is in the environment of all that a rig's runs have started, whatever its process group."""

Row = dict[str, str]


class Run:
    """One run of the study: a process, and what it printed."""

    def __init__(self, command: Command, *, stdout: Path, stderr: Path, places: Mapping[int, Place]) -> None:
        self.command = command
        self._stdout, self._stderr = stdout, stderr
        self.places = places
        """Where the trials stood when it began, as their files tell."""

    @property
    def pid(self) -> int:
        return self.command.pid

    @property
    def out(self) -> str:
        return self._stdout.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._stderr.read_text(errors="replace")

    @property
    def announced(self) -> dict[int, tuple[str, str, int, str]]:
        """(state, dev metric, epochs, reason) of each trial that it said has ended."""
        found = [m.groups() for m in ENDED.finditer(self.err)]
        assert len({number for number, *_ in found}) == len(found), "a trial was announced twice"
        return {int(number): (state, value, int(epochs), why) for number, state, value, epochs, why in found}

    @property
    def went_on(self) -> dict[int, Place]:
        """Where each trial that an earlier run had left went on."""
        found = WENT_ON.findall(self.err)
        return {
            int(number): (int(under_way) - 1, int(step)) if step else (int(epoch or 0), 0)
            for number, epoch, step, under_way in found
        }

    @property
    def alive(self) -> bool:
        return self.command.poll() is None

    def wait(self, *, seconds: float = 180.0) -> int:
        """Its exit code."""
        return wait_for(self.command, seconds=seconds)


class Rig:
    """One study in a folder of its own."""

    def __init__(self, folder: Path, *, launcher: Launcher = launch, store_url: str | None = None) -> None:
        self.folder = folder
        self.launcher = launcher
        self.store_url = store_url
        self.mounts: Path | None = None
        """The table of mounts that is read in place of the machine's."""
        self.runs: list[Run] = []
        self.paths = StudyPaths(folder / "results" / "study")
        folder.mkdir(parents=True, exist_ok=True)

    # What is run

    def take_for_network_drive(self) -> None:
        """Have the study's folder taken for a network drive, by all that is started from now on."""
        self.mounts = mounts_of(self.folder, self.folder / "mounts")

    def sweep(self, **parts: Any) -> None:
        """Write the sweep file: 20 short trials on the digits, with these parts in place of its own."""
        content: dict[str, Any] = {
            "study": "study",
            "data": {"source": "sklearn/digits"},
            "space": {
                "learning_rate": {"low": 1e-3, "high": 1.0},
                "hidden_units": {"low": 8, "high": 64},
                "dropout": {"low": 0.0, "high": 0.4},
            },
            "training": {"epochs": 3, "batch_size": 128},
            "search": {"trials": 20, "strategy": "random"},
            "baselines": "off",
        }
        content |= parts
        with (self.folder / "sweep.yaml").open("w") as file:
            YAML().dump(content, file)

    @property
    def trials(self) -> int:
        """The total that the sweep file asks for."""
        total: int = YAML(typ="safe").load(self.folder / "sweep.yaml")["search"]["trials"]
        return total

    # Its verbs

    def hurry(self) -> None:
        """Let the trials of `test_signals.SLOW` take no longer than they need."""
        (self.folder / "hurry").touch()

    def start(self, *flags: str, engine: str = "inline", fault: str = "", **env: str) -> Run:
        """Begin a run. `fault` is a fault point and its count, as in `TUNER_FAULT`."""
        number = len(self.runs)
        stdout, stderr = self.folder / f"{number}.out", self.folder / f"{number}.err"
        arguments = ["run", "sweep.yaml", "--engine", engine, *self._store(), *flags]
        before = self.places()
        stdout.touch()
        stderr.touch()
        env = {"TUNER_FAULT": fault, MARK: str(self.folder), **self._mounted(), **env}
        command = self.launcher(arguments, cwd=self.folder, env=env, stdout=stdout, stderr=stderr)
        self.runs.append(Run(command, stdout=stdout, stderr=stderr, places=before))
        return self.runs[-1]

    @property
    def on_network_drive(self) -> bool:
        return self.mounts is not None or on_network_drive(self.paths.database)

    def _mounted(self) -> dict[str, str]:
        return {"TUNER_MOUNTS": str(self.mounts)} if self.mounts else {}

    def _store(self) -> list[str]:
        return ["--store", self.store_url] if self.store_url else []

    def command(self, *arguments: str) -> tuple[int, str, str]:
        """Run another command to its end: its exit code, what it printed, and what it printed to stderr."""
        stdout, stderr = self.folder / "command.out", self.folder / "command.err"
        for path in (stdout, stderr):
            path.unlink(missing_ok=True)
            path.touch()
        command = self.launcher(arguments, cwd=self.folder, env=self._mounted(), stdout=stdout, stderr=stderr)
        return wait_for(command), stdout.read_text(), stderr.read_text()

    @property
    def last(self) -> Run:
        return self.runs[-1]

    def wait_until(self, event: str | Callable[[], bool], *, seconds: float = 120.0) -> None:
        """Wait until the last run has printed a line that matches, or something is so."""
        run = self.last

        def so() -> bool:
            assert run.alive, f"the run has ended with {run.command.poll()}: {run.err[-2000:]}"
            return bool(re.search(event, run.err, re.MULTILINE)) if isinstance(event, str) else event()

        assert eventually(so, seconds=seconds), f"waited in vain for {event}; the run said: {run.err[-2000:]}"

    def kill(self, role: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to the `coordinator`, a `worker`, the `fork server`, or the whole `session`; its process id."""
        pid = self.last.pid
        match role:
            case "coordinator":
                os.kill(pid, number)
            case "worker":
                pid = self.workers()[0]
                os.kill(pid, number)
            case "fork server":
                pid = self._fork_server()
                os.kill(pid, number)
            case "session":
                os.killpg(pid, number)
            case _:
                raise AssertionError(f"no such role: {role}")
        return pid

    def workers(self) -> list[int]:
        """The process ids of the last run's workers."""
        return children(self._fork_server())

    @property
    def has_fork_server(self) -> bool:
        return any(is_fork_server(pid) for pid in children(self.last.pid))

    def _fork_server(self) -> int:
        return next(pid for pid in children(self.last.pid) if is_fork_server(pid))

    @contextmanager
    def fill_disk(self) -> Iterator[None]:
        """Leave no room on the disk of the results."""
        ballast = self.paths.folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            for size in (2**16, 2**10, 1):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError:
                    continue
        yield
        ballast.unlink()

    @contextmanager
    def lock_db(self) -> Iterator[None]:
        """Hold the database's lock, as another program may."""
        with closing(sqlite3.connect(self.paths.database, isolation_level=None)) as connection:
            connection.execute("PRAGMA busy_timeout = 60000")
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    def cut_file(self, path: Path, *, share: float = 0.5) -> None:
        """Keep only the first part of a file."""
        os.truncate(path, int(path.stat().st_size * share))

    def resume(self, *flags: str, engine: str = "inline", **env: str) -> Run:
        """The same command again, to its end."""
        run = self.start(*flags, engine=engine, **env)
        code = run.wait()
        assert code == 0, f"exit code {code}: {run.err[-2000:]}"
        return run

    # What is left

    def records(self) -> tuple[TrialRecord, ...]:
        """Of the study as it is in the database; none while it is not there."""
        try:
            return read_study(self.paths, study="study", url=self.store_url).records
        except StudyNotFoundError:
            return ()

    def heard(self) -> dict[tuple[str, int], list[int]]:
        """The epochs that a listener heard of over all runs, by (trials or finalists, number)."""
        found: dict[tuple[str, int], list[int]] = {}
        folder = self.paths.folder
        file = self.folder / f"heard of {folder.stat().st_ino if folder.exists() else 0}"
        for line in file.read_text().splitlines() if file.exists() else ():
            study, number, epoch = line.split()
            found.setdefault((study, int(number)), []).append(int(epoch))
        return found

    def checkpoints(self) -> dict[int, Place]:
        """Where each trial's checkpoint stands."""
        found = {number: read_checkpoint(self.paths.trial(number)) for number in self._folders()}
        return {number: (one.epoch, one.step) for number, one in found.items() if one is not None}

    def places(self) -> dict[int, Place]:
        """Where each trial stands, by its checkpoint or by the curve that it leaves at its end."""
        found = self.checkpoints()
        for number in self._folders():
            curve = self.paths.trial(number).curve
            if curve.exists():
                found[number] = max(found.get(number, (0, 0)), (len(curve.read_text().splitlines()) - 1, 0))
        return found

    def _folders(self) -> list[int]:
        return [int(folder.name) for folder in self.paths.trials.iterdir()] if self.paths.trials.exists() else []

    def leaderboard(self) -> list[Row]:
        """The rows of the leaderboard, without what a clock fills."""
        with self.paths.leaderboard_csv.open(newline="") as file:
            rows = [dict(row) for row in csv.DictReader(file)]
        return [{key: value for key, value in row.items() if key not in CLOCKED} for row in rows]

    def processes(self) -> list[tuple[int, str]]:
        """What the runs have started, whatever its process group, and is alive: process ids and command lines."""
        found = {pid for run in self.runs for pid in group(run.pid)}
        found |= {*marked(f"{MARK}={self.folder}"), *at_home(self.folder)}
        return [(pid, _command_line(pid)) for pid in sorted(found)]

    def audit(self, *, complete: bool = False, like: Rig | None = None) -> None:
        """Check every promise that can be checked from outside.

        Args:
            complete: The sweep is said to be done.
            like: An uninterrupted run of the same sweep, which this one, being done, must equal.
        """
        audit(self, complete=complete or like is not None, like=like)


def states(rig: Rig) -> list[TrialState]:
    return [record.state for record in rig.records()]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


@contextmanager
def small_disk(folder: Path, *, mebibytes: int) -> Iterator[None]:
    """A file system of its own at a folder. Only root can make one."""
    folder.mkdir(parents=True, exist_ok=True)
    size = f"size={mebibytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        _unmount(folder, "umount")


@contextmanager
def network_drive(folder: Path, *, remote: Path) -> Iterator[None]:
    """Another folder at this one, over the protocol that ssh has for files; without a connection, which needs keys."""
    server = next((path for path in SFTP_SERVERS if path.exists()), None)
    if server is None or shutil.which("sshfs") is None:
        pytest.skip("sshfs, or the server of its protocol, is not installed")
    for place in (folder, remote):
        place.mkdir(parents=True, exist_ok=True)
    connect = remote.with_suffix(".sh")
    connect.write_text(f"#!/bin/sh\nexec {server}\n")
    connect.chmod(0o755)
    mounted = subprocess.run(
        ["sshfs", "-o", f"ssh_command={connect}", f"x:{remote}", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"mounting needs more rights: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        _unmount(folder, "fusermount3", "-u")


SFTP_SERVERS = tuple(Path(f"/usr/{folder}/sftp-server") for folder in ("lib/openssh", "libexec/openssh", "lib/ssh"))


def _unmount(folder: Path, *command: str) -> None:
    deadline = time.monotonic() + 10
    while subprocess.run([*command, str(folder)], check=False).returncode and time.monotonic() < deadline:
        time.sleep(0.1)
