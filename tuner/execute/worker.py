"""A worker process: loads the data once, then trains the cohorts that the coordinator sends, until told to end.

Messages to a worker: ("train", jobs), ("join", jobs), ("interrupt",), ("close",). From a worker: ("ready", facts),
("refused", error), ("events", events).
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

from tuner.errors import TunerError
from tuner.execute.runner import CohortRunner
from tuner.execute.training import facts_of, open_task, study_paths, write_dev_targets
from tuner.records import EpochsFinished, TrialEvent
from tuner.spec.model import SweepSpec

SEND_SECONDS = 0.2
"""Progress is sent no more often than this; the end of a job is sent at once."""


def worker_main(
    connection: Connection, spec: SweepSpec, folder: str, name: str, device: str, threads: int, core: int | None
) -> None:
    """Entry point of a worker process."""
    os.setsid()  # its own group: Ctrl-C at a terminal reaches the coordinator alone, and its children end with it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    logging.basicConfig(level=logging.WARNING, format=f"{name}: %(message)s")
    try:
        task = open_task(spec, device=device, threads=threads)
        if name.endswith("0"):
            write_dev_targets(task, study_paths(folder))
        connection.send(("ready", facts_of(task)))
    except TunerError as error:
        connection.send(("refused", error))
        return
    try:
        _serve(connection, CohortRunner(task, worker=name))
    except (EOFError, ConnectionError):
        return  # the coordinator has gone


def _end_with_parent() -> None:
    """End at once when the coordinator dies, even in the middle of a long step."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


def _serve(connection: Connection, runner: CohortRunner) -> None:
    while True:
        message: tuple[Any, ...] = connection.recv()
        match message:
            case ("train" | "join", jobs):
                outbox = _Outbox(connection)
                for events in runner.train(jobs):
                    outbox.add(events)
                    while connection.poll():
                        if not _heed(connection.recv(), runner):
                            return
                outbox.send()
            case ("close",):
                return
            case _:
                pass


def _heed(message: tuple[Any, ...], runner: CohortRunner) -> bool:
    """Act on a message that came in the middle of a cohort; False to end."""
    match message:
        case ("train", jobs):
            runner.queue(jobs)
        case ("join", jobs):
            runner.join(jobs)
        case ("interrupt",):
            runner.interrupt()
        case ("close",):
            return False
    return True


class _Outbox:
    """Collects progress, so that the coordinator is not woken for every epoch of every trial."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._progress: dict[int, list[EpochsFinished]] = {}
        self._sent = time.monotonic()

    def add(self, events: list[TrialEvent]) -> None:
        urgent: list[TrialEvent] = []
        for event in events:
            match event:
                case EpochsFinished(trial=trial):
                    self._progress.setdefault(trial, []).append(event)
                case _:
                    urgent += [*self._take(event.trial), event]
        if time.monotonic() - self._sent >= SEND_SECONDS or urgent:
            self.send(urgent)

    def send(self, last: list[TrialEvent] | None = None) -> None:
        """Send all progress, and behind it these events."""
        events: list[TrialEvent] = [merged for trial in list(self._progress) for merged in self._take(trial)]
        events += last or []
        if events:
            self._connection.send(("events", events))
        self._sent = time.monotonic()

    def _take(self, trial: int) -> list[TrialEvent]:
        found = self._progress.pop(trial, [])
        return [EpochsFinished(trial=trial, results=tuple(r for e in found for r in e.results))] if found else []
