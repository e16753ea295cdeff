"""The process that trains baselines beside the workers: begun here, or where an executor has its workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeAlias, runtime_checkable

from tuner.execute.executor import Executor
from tuner.execute.fork_server import fork_server
from tuner.execute.free_memory import free_bytes
from tuner.execute.helpers import helpers
from tuner.paths import StudyPaths
from tuner.records import Json
from tuner.spec.known.baselines import BaselineName
from tuner.spec.model import SweepSpec

_NICENESS = 5
"""By how much its priority is lower than that of the workers."""
_MOST_SHARE = 0.25
"""Of the memory that is free, for the data."""


Trained: TypeAlias = tuple[str, dict[str, Json]]
"""A baseline's name; and its `value` and `loss` on the dev set, the `examples` that it was fitted to, and the `seconds`
of a processor that it took, or `failed`, in words."""


class NoBaselinesError(Exception):
    """They cannot be trained now; the message says why."""


class Beside(Protocol):
    """A process that trains them, wherever it is."""

    ended: bool
    """Whether nothing comes of it any more."""
    was_lost: bool
    """Whether it went with its machine, and what it was to train may be trained elsewhere."""

    def received(self, timeout_seconds: float = 0.0) -> list[Trained]:
        """Those that are ready since the last call; waits for the next one if there is none."""
        ...

    def close(self) -> None:
        """End it, whatever it is doing."""
        ...


@runtime_checkable
class TrainsBeside(Protocol):
    """An executor whose workers are elsewhere, where baselines can be trained too."""

    def train_baselines(self, names: Sequence[str], known: Mapping[str, Json]) -> Beside | None:
        """Begin; see `begin_baselines`. None if they cannot be trained there, for a reason that does not hold here."""
        ...


def begin_baselines(
    executor: Executor, spec: SweepSpec, paths: StudyPaths, *, names: Sequence[str], known: Mapping[str, Json]
) -> Beside:
    """Begin to train them, where the data are: beside an executor's workers, else in a process here.

    Args:
        executor: Of the run.
        spec: The sweep file.
        paths: Of the study, where dev predictions are left.
        names: Which are to be trained.
        known: The facts of the data, which the process must find the same.

    Raises:
        NoBaselinesError: there is no room for them, or no process can be started.
    """
    elsewhere = executor.train_baselines(names, known) if isinstance(executor, TrainsBeside) else None
    return elsewhere or BaselinesBeside(spec, paths, names=names, known=known)


class BaselinesBeside:
    """A process here that trains them, one after the other, the simplest first."""

    was_lost = False

    def __init__(self, spec: SweepSpec, paths: StudyPaths, *, names: Sequence[str], known: Mapping[str, Json]) -> None:
        """Start it; see `begin_baselines`."""
        if full := room_for(known, streamed=spec.data.stream):
            raise NoBaselinesError(full)
        context = fork_server(spec)
        self._connection, theirs = context.Pipe()
        self._under_way = ""
        # Not a daemon in multiprocessing's sense: those may have no children, and users' data functions may want some.
        self._process: Any = context.Process(
            target=_entry, args=(theirs, spec, paths, tuple(names), dict(known), _NICENESS), daemon=False
        )
        try:
            with helpers():
                self._process.start()
        except (OSError, EOFError) as error:
            raise NoBaselinesError(f"their process cannot be started ({error})") from error
        theirs.close()
        self.ended = False

    def received(self, timeout_seconds: float = 0.0) -> list[Trained]:
        """See `Beside`."""
        found: list[Trained] = []
        if self.ended:
            return found
        wait([self._connection, self._process.sentinel], timeout_seconds)
        died = self._process.exitcode is not None
        try:
            while self._connection.poll():
                message = self._connection.recv()
                if isinstance(message, str):
                    self._under_way = message
                else:
                    found.append(message)
                    self._under_way = ""
        except (EOFError, OSError):
            died = True
        if died:
            if self._under_way:
                self._process.join(1.0)
                found.append((self._under_way, {"failed": f"its process ended ({self._process.exitcode})"}))
            self.close()
        return found

    def close(self) -> None:
        """See `Beside`."""
        if not self.ended:
            self.ended = True
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            if self._process.exitcode is None:  # it may not have come to make its group yet
                self._process.kill()
            self._process.join()
            self._connection.close()


def room_for(data: Mapping[str, Json], *, streamed: bool) -> str:
    """Why there is no room for one more copy of the data; empty if there is."""
    if streamed:
        return ""
    size = 4 * (int(data["num_train"]) + int(data["num_dev"])) * prod(data["input_shape"])
    free = free_bytes()
    if free is not None and size > _MOST_SHARE * free:
        return f"one more copy of the data takes {size / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"
    return ""


def _entry(
    connection: Connection, spec: SweepSpec, paths: StudyPaths, names: Sequence[BaselineName],
    known: Mapping[str, Json], niceness: int,
) -> None:  # fmt: skip
    from tuner.execute.baselines import train_baselines  # late: the coordinator, which names it, needs no torch

    train_baselines(connection, spec, paths, names=names, known=known, niceness=niceness)
