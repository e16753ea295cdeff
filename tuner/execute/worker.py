"""A worker process: loads the data once, then trains the cohorts that the coordinator sends, until told to end.

Messages to a worker: ("check",), ("train", jobs), ("join", jobs), ("interrupt",), ("close",), ("found", what),
("drop", folder). From a worker: ("ready", facts), ("checked",), ("refused", error), ("events", events), ("alive",),
("too wide", width), ("measured", footprint), ("log", level, text), ("spent", trial), ("found", what),
("kept", folders).
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import multiprocessing
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tuner.errors import StorageError, StudyMismatchError, TunerError, memory_error_in
from tuner.execute.devices import WorkerPlace
from tuner.execute.lifeline import end_with_parent
from tuner.execute.printed import Printed
from tuner.execute.runner import CohortRunner, ProcessSpentError
from tuner.execute.scarcity import first_line, memory_limit
from tuner.execute.signals import leave_to_coordinator
from tuner.execute.training import facts_of, open_task, write_dev_targets
from tuner.paths import StudyPaths, TrialPaths
from tuner.records import EpochsFinished, TrialEvent, TrialJob
from tuner.spec.model import SweepSpec
from tuner.train.before.contract import check_before_trials
from tuner.train.own.task import OwnTask
from tuner.train.task import Task

_SEND_SECONDS = 0.2
"""Progress is sent no more often than this; the end of a job is sent at once."""


def worker_main(
    connection: Connection, spec: SweepSpec, paths: StudyPaths, name: str, place: WorkerPlace, printed: Printed
) -> None:
    """Entry point of a worker process."""
    gc.freeze()  # what the fork server has imported is not looked through for garbage
    os.setsid()  # its own group: Ctrl-C at a terminal reaches the coordinator alone, and its children end with it
    leave_to_coordinator()
    multiprocessing.set_start_method(None, force=True)  # ours is for our workers: users' processes start as usual
    end_with_parent()
    printed.take_over()
    faulthandler.enable()
    link = _Link(connection)
    logging.basicConfig(level=logging.INFO, handlers=[_Forward(link)], force=True)
    task = _open(link, spec, paths, place)  # on any core: one worker loads for all, perhaps in several threads
    if place.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {place.core})
    if task is not None:
        _Server(link, task, paths, name, printed).serve()


def _open(link: _Link, spec: SweepSpec, paths: StudyPaths, place: WorkerPlace) -> Task | OwnTask | None:
    """The task, announced to the coordinator; None if it cannot be opened."""
    try:
        task = open_task(spec, place, paths=paths)
        link.send("ready", facts_of(task))
        return task
    except Exception as error:
        if (asked := memory_error_in(error)) is not None:
            link.send("no memory", first_line(asked), memory_limit())
            return None
        if isinstance(error, TunerError):
            link.send("refused", error)
            return None
        text = traceback.format_exc()
        link.send("refused", TunerError(f"a worker could not load the data: {type(error).__name__}: {error}\n{text}"))
    return None


class _Link:
    """The worker's end of the connection. What comes is read at once, so that the coordinator's sends never block."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._inbox: queue.SimpleQueue[tuple[Any, ...]] = queue.SimpleQueue()
        # A process that users' code forks must not hold the connection open, nor send on it.
        os.register_at_fork(after_in_child=self._leave)
        threading.Thread(target=self._listen, daemon=True).start()

    def _leave(self) -> None:
        self._sending = threading.Lock()  # another thread may have held it when the child was forked
        self._connection.close()

    def send(self, *message: Any) -> None:
        with self._sending:
            self._connection.send(message)

    def next(self) -> tuple[Any, ...]:
        """The next message; waits for it."""
        return self._inbox.get()

    def arrived(self) -> list[tuple[Any, ...]]:
        """The messages that are there already."""
        found = []
        with suppress(queue.Empty):
            while True:
                found.append(self._inbox.get_nowait())
        return found

    def _listen(self) -> None:
        try:
            while True:
                message = self._connection.recv()
                self._inbox.put(message)
                if message == ("close",):
                    return
        except (EOFError, OSError):  # the coordinator has gone
            os.killpg(0, signal.SIGKILL)


class _Forward(logging.Handler):
    """Log records go to the coordinator, which shows them where its own are shown."""

    def __init__(self, link: _Link) -> None:
        super().__init__()
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            self._link.send("log", record.levelno, record.getMessage())


class _Server:
    """Does what the coordinator says."""

    def __init__(self, link: _Link, task: Task | OwnTask, paths: StudyPaths, name: str, printed: Printed) -> None:
        self._link = link
        self._task = task
        self._paths = paths
        self._printed = printed
        self._pid = os.getpid()
        self._runner = CohortRunner(
            task, worker=name, too_wide=lambda width: link.send("too wide", width),
            measured=lambda found: link.send("measured", found), is_replaceable=True,
        )  # fmt: skip
        if isinstance(task, Task):
            task.ways.structures.tell = lambda what: link.send("found", what)
        else:
            task.kept.tell = lambda folders: link.send("kept", folders)
        self._first = True

    def serve(self) -> None:
        while True:
            match self._link.next():
                case ("train" | "join", jobs):
                    try:
                        if not self._train(jobs):
                            return
                    except (StorageError, StudyMismatchError) as error:
                        self._link.send("refused", error)
                        return
                    except ProcessSpentError as spent:
                        self._link.send("spent", spent.trial)
                        return
                case ("check",):
                    self._check()
                case ("close",):
                    return
                case ("found", what):
                    self._take(what)
                case ("drop", folder):
                    self._drop(folder)
                case _:
                    pass  # an interrupt while there is nothing to do

    def _check(self) -> None:
        """Look at the user's model."""
        assert isinstance(self._task, Task)
        try:
            check_before_trials(self._task)
            answer: tuple[Any, ...] = ("checked",)
        except TunerError as error:
            answer = ("refused", error)
        self._end_if_forked()
        self._link.send(*answer)

    def _end_if_forked(self) -> None:
        """End a child that users' code forked, and that came back to us."""
        if os.getpid() != self._pid:
            os._exit(0)

    def _train(self, jobs: Sequence[TrialJob]) -> bool:
        """Train these and those that come meanwhile; False to end."""
        if self._first:  # not earlier: until it trains, a run may still be refused, and must leave all as it was
            self._first = False
            self._printed.deliver([self._paths.log])
            write_dev_targets(self._task, self._paths)
        outbox = _Outbox(self._link)
        try:
            for events in self._runner.train(jobs):
                self._end_if_forked()
                self._printed.deliver([TrialPaths(Path(job.folder)).log for job in self._runner.members])
                outbox.add(events)
                if not events and isinstance(self._task, Task):
                    self._link.send("alive")  # a slice of a long epoch is trained; users' own code reports by itself
                for message in self._link.arrived():
                    if not self._heed(message):
                        return False
        finally:
            outbox.send()
        return True

    def _heed(self, message: tuple[Any, ...]) -> bool:
        """Act on a message that came in the middle of a cohort; False to end."""
        match message:
            case ("train", jobs):
                self._runner.queue(jobs)
            case ("join", jobs):
                self._runner.join(jobs)
            case ("interrupt",):
                self._runner.interrupt()
            case ("found", what):
                self._take(what)
            case ("drop", folder):
                self._drop(folder)
            case ("close",):
                return False
        return True

    def _take(self, what: bytes) -> None:
        assert isinstance(self._task, Task)
        self._task.ways.structures.take(what)

    def _drop(self, folder: str) -> None:
        assert isinstance(self._task, OwnTask)
        self._task.kept.drop(folder)


class _Outbox:
    """Collects progress, so that the coordinator is not woken for every epoch of every trial."""

    def __init__(self, link: _Link) -> None:
        self._link = link
        self._events: list[TrialEvent] = []
        self._last: dict[int, int] = {}
        """Where each trial's last event is in the list, if that is progress, which more progress can join."""
        self._sent = time.monotonic()

    def add(self, events: Sequence[TrialEvent]) -> None:
        urgent = False
        for event in events:
            match event:
                case EpochsFinished(trial=trial) if trial in self._last:
                    before = self._events[self._last[trial]]
                    assert isinstance(before, EpochsFinished)
                    joined = EpochsFinished(trial=trial, results=before.results + event.results, kept=event.kept)
                    self._events[self._last[trial]] = joined
                case EpochsFinished(trial=trial):
                    self._last[trial] = len(self._events)
                    self._events.append(event)
                case _:
                    self._last.pop(event.trial, None)
                    self._events.append(event)
                    urgent = True
        if urgent or time.monotonic() - self._sent >= _SEND_SECONDS:
            self.send()

    def send(self) -> None:
        """Send what there is."""
        if self._events:
            self._link.send("events", self._events)
        self._events, self._last = [], {}
        self._sent = time.monotonic()
