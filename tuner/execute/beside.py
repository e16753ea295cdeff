"""The process that trains baselines beside the workers, as the coordinator sees it."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import prod
from multiprocessing.connection import Connection, wait
from typing import Any, TypeAlias

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


class BaselinesBeside:
    """A process that trains them, one after the other, the simplest first."""

    def __init__(self, spec: SweepSpec, paths: StudyPaths, *, names: Sequence[str], known: Mapping[str, Json]) -> None:
        """Start it.

        Args:
            spec: The sweep file.
            paths: Of the study, where dev predictions are left.
            names: Which are to be trained.
            known: The facts of the data, which it must find the same.
        """
        context = fork_server(spec)
        self._connection, theirs = context.Pipe()
        self._under_way = ""
        # Not a daemon in multiprocessing's sense: those may have no children, and users' data functions may want some.
        self._process: Any = context.Process(
            target=_entry, args=(theirs, spec, paths, tuple(names), dict(known), _NICENESS), daemon=False
        )
        with helpers():
            self._process.start()
        theirs.close()
        self.ended = False

    def received(self, timeout_seconds: float = 0.0) -> list[Trained]:
        """Those that are ready since the last call; waits for the next one if there is none."""
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
        """End it, whatever it is doing."""
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
