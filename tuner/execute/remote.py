"""Processes on another machine, as the coordinator sees them: calls of an actor of Ray's in place of a pipe."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tuner.errors import StorageError
from tuner.execute.beside import NoBaselinesError, Trained
from tuner.execute.luggage import files_of_jobs, put
from tuner.execute.process import LastWords
from tuner.execute.scarcity import Scarcity, first_line
from tuner.paths import StudyPaths
from tuner.records import FailureReason, Json

_BEGIN_SECONDS = 10.0
"""For a host to start a process."""


class Bell:
    """Wakes whoever waits for what comes from elsewhere."""

    def __init__(self) -> None:
        self._wake = threading.Event()
        self._rung_by: queue.SimpleQueue[int] = queue.SimpleQueue()

    def ring(self, by: object = None) -> None:
        """In any thread: something has come from this one."""
        self._rung_by.put(id(by))
        self._wake.set()

    def wait(self, timeout_seconds: float) -> set[int]:
        """Wait for the first ring; returns the identities of all who have rung since the last call."""
        self._wake.wait(timeout_seconds)
        self._wake.clear()
        rung: set[int] = set()
        with suppress(queue.Empty):
            while True:
                rung.add(self._rung_by.get_nowait())
        return rung


@dataclass(frozen=True, slots=True)
class Apart:
    """What a host is given that does not see the study's folder."""

    paths: StudyPaths
    """The study's, here."""
    run: str
    """A name that no other run has."""
    code: Any
    """The reference to the sweep file's folder; None if that is seen there."""


class RemoteProcess:
    """A worker's process in a host elsewhere: see `execute.process.Process`."""

    def __init__(self, ray: Any, host: Any, bell: Bell, *, apart: Apart | None = None) -> None:
        """Start it.

        Args:
            ray: The library.
            host: Where it is to be.
            bell: Rung when something has come.
            apart: If what is written there is not seen here.
        """
        self.apart = apart
        """See above."""
        self._ray = ray
        self._host = host
        self._bell = bell
        self._inbox: queue.SimpleQueue[list[tuple[Any, ...]] | BaseException] = queue.SimpleQueue()
        self._death: tuple[FailureReason, str, bool] | None = None
        self._words = _Words()
        self.printed: LastWords = self._words
        self.was_killed = False
        self.scarcity = Scarcity()
        self.went_with_its_machine = False
        how = () if apart is None else (apart.run, apart.code)
        host.start.options(concurrency_group="down").remote(*how).future().add_done_callback(self._has_started)
        self._listen()

    @property
    def cause(self) -> str:
        """Why it has died."""
        return self._death[1] if self._death is not None else ""

    def send(self, *message: Any) -> None:
        match message:
            case ("train" | "join", jobs) if self.apart is not None:
                message = (*message, files_of_jobs(self.apart.paths, jobs))
        self._host.tell.options(concurrency_group="down").remote(*message)

    def received(self) -> Iterator[tuple[Any, ...]]:
        while self._death is None:
            try:
                came = self._inbox.get_nowait()
            except queue.Empty:
                return
            yield from self._read(came)
        raise EOFError

    def ask_to_end(self) -> None:
        self.send("close")

    def join(self, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while self._death is None:
            try:
                came = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            for _ in self._read(came):
                pass  # whoever waits for its end has no ear for it any more

    def kill(self) -> None:
        if self._death is None:
            self._host.kill.remote()

    def bury(self) -> tuple[FailureReason, str, bool]:
        if self._death is None:
            self._lose("it did not end when it was told to")
        assert self._death is not None
        return self._death

    def _read(self, came: list[tuple[Any, ...]] | BaseException) -> Iterator[tuple[Any, ...]]:
        if isinstance(came, BaseException):
            self.went_with_its_machine = isinstance(came, self._ray.exceptions.RayActorError)
            lost = "its node is gone, or Ray has ended its actor" if self.went_with_its_machine else first_line(came)
            self._lose(lost)
            return
        for message in came:
            match message:
                case (
                    "died",
                    FailureReason() as reason,
                    str(cause),
                    bool(from_outside),
                    bool(was_killed),
                    bytes(words),
                    Scarcity() as scarcity,
                ):
                    self._death = reason, cause, from_outside
                    self.was_killed, self.scarcity = was_killed, scarcity
                    self._words.words = words
                case ("files", files):
                    assert self.apart is not None
                    try:
                        put(self.apart.paths, files)
                    except OSError as error:
                        yield "refused", StorageError(f"what a worker elsewhere has sent cannot be written: {error}")
                case _:
                    yield message
        if self._death is None:
            self._listen()

    def _lose(self, cause: str) -> None:
        self._death = FailureReason.KILLED, cause, True
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._host)

    def _listen(self) -> None:
        self._host.hear.options(concurrency_group="up").remote().future().add_done_callback(self._has_come)

    def _has_started(self, future: Any) -> None:
        if (error := future.exception()) is not None:
            self._inbox.put(error)
            self._bell.ring(self)

    def _has_come(self, future: Any) -> None:
        error = future.exception()
        self._inbox.put(future.result() if error is None else error)
        self._bell.ring(self)


class RemoteBaselines:
    """A process in a host elsewhere that trains baselines: see `execute.beside.Beside`."""

    def __init__(self, ray: Any, host: Any, *, names: Sequence[str], known: Mapping[str, Json]) -> None:
        """Start it.

        Raises:
            NoBaselinesError: it cannot be started there.
        """
        self._ray = ray
        self._host = host
        try:
            begun = host.begin_baselines.options(concurrency_group="down")  # as workers are: one at a time
            refusal = ray.get(begun.remote(names, known), timeout=_BEGIN_SECONDS)
        except ray.exceptions.RayError as error:
            raise NoBaselinesError(f"their process cannot be started ({first_line(error)})") from error
        if refusal:
            raise NoBaselinesError(refusal)
        self.ended = False
        self.was_lost = False
        self._next = _beside(self._host.baselines).remote()

    def received(self, timeout_seconds: float = 0.0) -> list[Trained]:
        if self.ended or not self._ray.wait([self._next], timeout=timeout_seconds)[0]:
            return []
        try:
            found, self.ended = self._ray.get(self._next)
        except self._ray.exceptions.RayError:
            self.ended = self.was_lost = True
            return []
        if not self.ended:
            self._next = _beside(self._host.baselines).remote()
        trained: list[Trained] = found
        return trained

    def close(self) -> None:
        if not self.ended:
            self.ended = True
            _beside(self._host.end_baselines).remote()


def _beside(method: Any) -> Any:
    """A method of a host, in a thread of its own."""
    return method.options(concurrency_group="beside")


class _Words:
    """What a worker elsewhere printed last."""

    def __init__(self) -> None:
        self.words = b""

    def take(self) -> bytes:
        words, self.words = self.words, b""
        return words

    def close(self) -> None:
        pass
