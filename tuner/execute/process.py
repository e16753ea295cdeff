"""A worker process, as the coordinator sees it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from functools import cached_property
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from tuner.execute.devices import WorkerPlace
from tuner.execute.helpers import without_main
from tuner.execute.printed import Printed
from tuner.execute.scarcity import KernelKills, Scarcity, memory_limit
from tuner.paths import StudyPaths
from tuner.records import FailureReason
from tuner.spec.model import SweepSpec

JOIN_SECONDS = 5.0
_START_ATTEMPTS = 20
_START_PAUSE_SECONDS = 0.05

_OWN_FAULTS = {
    signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS,
}  # fmt: skip
"""Signals that a process earns by what it does itself."""
_UNKNOWN_EXIT = 255
"""What multiprocessing says when the fork server, which alone knows the exit code, has died."""


class Process(Protocol):
    """What a pool of workers does with a worker's process, wherever that is."""

    printed: LastWords

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL has ended it."""
        ...

    @property
    def scarcity(self) -> Scarcity:
        """Of memory on its machine, once it has died."""
        ...

    @property
    def went_with_its_machine(self) -> bool:
        """Whether it was lost because its machine was."""
        ...

    def send(self, *message: Any) -> None:
        """Send a message; a worker that has died gets none, which `received` will tell."""
        ...

    def received(self) -> Iterator[tuple[Any, ...]]:
        """The messages that have come.

        Raises:
            EOFError: it has died, and there is nothing more to come.
        """
        ...

    def ask_to_end(self) -> None: ...

    def join(self, timeout_seconds: float) -> None: ...

    def kill(self) -> None:
        """End it, and everything that it started."""
        ...

    def bury(self) -> tuple[FailureReason, str, bool]:
        """Make sure that it is gone, and release what it held: the reason, in words, and whether it came from outside.

        `printed` stays open, for its last words.
        """
        ...


class LastWords(Protocol):
    """What a worker process has printed."""

    def take(self) -> bytes:
        """What was printed since the last call, or the end of it."""
        ...

    def close(self) -> None: ...


class WorkerProcess:
    """One process with a process group of its own, and the connection to it."""

    printed: LastWords
    went_with_its_machine = False

    def __init__(
        self,
        context: ForkServerContext,
        spec: SweepSpec,
        paths: StudyPaths,
        *,
        name: str,
        place: WorkerPlace,
        kernel_kills: KernelKills,
    ) -> None:
        self._kernel_kills = kernel_kills
        self.printed = Printed()
        self.connection, theirs = context.Pipe()
        # Not a daemon in multiprocessing's sense: those may have no children, and users' code may want some.
        self._process: BaseProcess = context.Process(
            target=_entry, args=(theirs, spec, paths, name, place, self.printed), daemon=False
        )
        self._start()
        theirs.close()

    def _start(self) -> None:
        for _ in range(_START_ATTEMPTS):
            try:
                with without_main():
                    self._process.start()
                return
            except (ConnectionError, EOFError):  # the fork server has just died, and is still taken for alive
                time.sleep(_START_PAUSE_SECONDS)
        with without_main():
            self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def waitables(self) -> tuple[Connection, int]:
        """For `multiprocessing.connection.wait`: ready when it has sent something, or has died."""
        return self.connection, self._process.sentinel

    @property
    def has_died(self) -> bool:
        return self._process.exitcode is not None

    @property
    def was_killed(self) -> bool:
        """Whether SIGKILL has ended it; it may have ended the fork server, too, and with that what was known of it."""
        return self._process.exitcode == -signal.SIGKILL or (
            self.died_with_its_server and self.scarcity.by_kernel is True
        )

    @property
    def died_with_its_server(self) -> bool:
        """Whether the fork server has died, too, and nobody knows which of the two was first."""
        return self._process.exitcode == _UNKNOWN_EXIT

    @cached_property
    def scarcity(self) -> Scarcity:
        """Of memory when it died."""
        return Scarcity(self._kernel_kills.came(), memory_limit())

    def send(self, *message: Any) -> None:
        """Send a message; a worker that has died gets none, which `received` will tell."""
        with contextlib.suppress(OSError):
            self.connection.send(message)

    def received(self) -> Iterator[tuple[Any, ...]]:
        """The messages that have come.

        Raises:
            EOFError: it has died, and there is nothing more to come.
        """
        died = self.has_died  # before the last look at the connection: what it sent last is not lost
        if died:
            self.kill()  # its children may hold the connection open
        try:
            while self.connection.poll():
                yield self.connection.recv()
        except ConnectionError:
            died = True
        if died:
            raise EOFError

    def ask_to_end(self) -> None:
        self.send("close")

    def join(self, timeout_seconds: float) -> None:
        self._process.join(timeout_seconds)

    def kill(self) -> None:
        """End it, and everything that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if not self.has_died:  # it may not have come to make its group yet
            self._process.kill()

    def bury(self) -> tuple[FailureReason, str, bool]:
        """Make sure that it is gone, and release what it held: the reason, in words, and whether it came from outside.

        `printed` stays open, for its last words.
        """
        self._process.join(JOIN_SECONDS if not self.has_died else None)
        self.kill()
        self._process.join()
        self.connection.close()
        code = self._process.exitcode
        assert code is not None
        if code == _UNKNOWN_EXIT and self.was_killed:
            return FailureReason.KILLED, "its process was killed, and that which had forked it", True
        return _cause_of_death(code)


def _entry(
    connection: Connection, spec: SweepSpec, paths: StudyPaths, name: str, place: WorkerPlace, printed: Printed
) -> None:
    from tuner.execute.worker import worker_main  # late: the coordinator, which names this function, needs no torch

    worker_main(connection, spec, paths, name, place, printed)


def _cause_of_death(code: int) -> tuple[FailureReason, str, bool]:
    if code == _UNKNOWN_EXIT:
        return FailureReason.KILLED, "its process ended, and nobody knows how", True
    if code >= 0:
        return FailureReason.EXITED, f"its process ended with exit code {code}", False
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "a signal"
    return FailureReason.KILLED, f"its process was killed by {name} ({-code})", -code not in _OWN_FAULTS
