"""What stands for the coordinator on another machine: starts a worker process there, and hands messages on.

It is an actor of Ray's, but knows nothing of Ray: what is remote about it is in `remote.py`. The worker is the same
process as on one machine, so it dies, prints and is watched as there; only the loss of a machine is another matter.
"""

from __future__ import annotations

import platform
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from tuner.execute.beside import BaselinesBeside, NoBaselinesError, Trained
from tuner.execute.devices import WorkerPlace, prepare_environment
from tuner.execute.fork_server import fork_server
from tuner.execute.luggage import Scratch
from tuner.execute.process import WorkerProcess
from tuner.execute.scarcity import KernelKills
from tuner.execute.shared_folder import is_seen
from tuner.paths import StudyPaths
from tuner.records import Json
from tuner.spec.model import SweepSpec

_LOOK_SECONDS = 1.0
"""So often it is looked at what users' code keeps: it may be written before or after the message of an epoch."""

_BESIDE_SECONDS = 1.0
"""So often it is asked for baselines that are ready; between, it can be told to end them."""

_FAREWELL_SECONDS = 5.0
"""When Ray loses a node it ends what a host has started, then the host: a trial that dies so is not told of as its own
failure, but by the host's silence."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a host finds where it has come to be."""

    node: str
    """Name of the machine."""
    versions: Mapping[str, str]
    """Of what must be the same on all machines."""
    sees_study: bool
    """Whether what is written in the study's folder here is seen where the study is."""
    sees_code: bool
    """Whether the sweep file's folder is here, and not another one of the same path."""


def versions() -> dict[str, str]:
    """Of this process: what must be the same on all machines, for pickles to be read and curves to be equal."""
    from importlib.metadata import version

    return {"python": platform.python_version()} | {name: version(name) for name in ("tuner", "torch", "numpy")}


class Host:
    """One worker process after the other, in one place; and, if asked, a process that trains baselines beside it.

    `hear` and `baselines` wait, and are called from threads of their own.
    """

    def __init__(self, spec: SweepSpec, paths: StudyPaths, *, number: int, place: WorkerPlace) -> None:
        self._spec = spec
        self._paths = paths
        self._place = place
        self._name = f"worker {number} on {platform.node()}"
        self._kernel_kills = KernelKills()
        self._process: WorkerProcess | None = None
        self._started = threading.Event()
        self._looking = threading.Lock()
        """The exit code of a process can be read once."""
        self._scratch: Scratch | None = None
        """Where this machine does not see the study's folder."""
        self._beside: BaselinesBeside | None = None
        _forget_main()
        prepare_environment(place)
        fork_server(spec)  # it loads until the coordinator has looked at what there is, and asks for a worker

    def look(self, token: str, said: str) -> Surroundings:
        """Say where this is, and what of the run is seen here: the sweep file's folder, and a file that says this."""
        sees_study = is_seen(Path(token), said=said)
        return Surroundings(platform.node(), versions(), sees_study, sees_study and Path(self._spec.root).is_dir())

    def leave(self) -> None:
        """Leave nothing on this machine."""
        if self._scratch is not None:
            self._scratch.leave()

    def start(self, apart: str = "", code: bytes | None = None) -> None:
        """Start a worker; the one before has died.

        Args:
            apart: The name of the run, if what is written here is not seen where the study is: it is sent along.
            code: The sweep file's folder, packed, if that is not seen here.
        """
        if apart and self._scratch is None:
            self._scratch = Scratch(apart, self._paths.folder)
            self._paths = self._scratch.paths
            if code is not None:
                self._spec = self._spec.model_copy(update={"root": str(self._scratch.unpack_code(code))})
        with self._looking:
            self._process = WorkerProcess(
                fork_server(self._spec),
                self._spec,
                self._paths,
                name=self._name,
                place=self._place,
                kernel_kills=self._kernel_kills,
            )
        self._started.set()

    def tell(self, *message: Any) -> None:
        """Hand a message to the worker; jobs come with the files that they go on from, if this machine works apart."""
        match message:
            case (str(verb), jobs, files) if self._scratch is not None:
                message = (verb, self._scratch.take(jobs, files))
        if self._process is not None:
            self._process.send(*message)

    def hear(self) -> list[tuple[Any, ...]]:
        """The worker's next messages; waits for them, or for files that are to be sent on their own.

        The last is ("died", reason, cause, whether it came from outside, whether by SIGKILL, what it printed last,
        scarcity of memory).
        """
        self._started.wait()
        assert self._process is not None
        while not wait(self._process.waitables, None if self._scratch is None else _LOOK_SECONDS):
            assert self._scratch is not None
            if files := self._scratch.pack([]):
                return files
        found: list[tuple[Any, ...]] = []
        with self._looking:
            try:
                for message in self._process.received():
                    found.append(message)
            except EOFError:
                death = self._process.bury()
                if self._process.died_with_its_server:
                    time.sleep(_FAREWELL_SECONDS)
                words = self._process.printed.take()
                found.append(("died", *death, self._process.was_killed, words, self._process.scarcity))
                self._process.printed.close()
                self._process = None
                self._started.clear()
            else:
                self._kernel_kills.came()  # what was before now killed another's worker
        return found if self._scratch is None else self._scratch.pack(found)

    def begin_baselines(self, names: Sequence[str], known: Mapping[str, Json]) -> str:
        """Train them beside the worker; returns why that cannot be, if so."""
        try:
            self._beside = BaselinesBeside(self._spec, self._paths, names=names, known=known)
        except NoBaselinesError as error:
            return str(error)
        return ""

    def baselines(self) -> tuple[list[Trained], bool]:
        """Those that are ready since the last call, after a short wait if none is; and whether nothing more comes."""
        if self._beside is None:
            return [], True
        return self._beside.received(_BESIDE_SECONDS), self._beside.ended

    def end_baselines(self) -> None:
        """End the process, whatever it is doing."""
        if self._beside is not None:
            self._beside.close()

    def kill(self) -> None:
        """End the worker, and everything that it started."""
        with self._looking:
            if self._process is not None:
                self._process.kill()


def _forget_main() -> None:
    """Let a new process not import the program that it is started from, which is Ray's."""
    main: Any = sys.modules["__main__"]
    main.__spec__ = None
    if hasattr(main, "__file__"):
        del main.__file__
