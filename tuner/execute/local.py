"""The local executor: persistent worker processes on this machine, one for each core or accelerator."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from tuner.errors import TunerError
from tuner.execute.devices import WorkerPlace
from tuner.execute.facts import TaskFacts
from tuner.execute.numeric import set_numeric_environment
from tuner.execute.planner import PlannedJob, Planner
from tuner.paths import StudyPaths
from tuner.records import (
    EpochsFinished,
    FailureReason,
    TrialEvent,
    TrialFailed,
    TrialInterrupted,
    TrialJob,
    TrialStarted,
)
from tuner.spec.model import SweepSpec

JOIN_SECONDS = 5.0
ROOM_PER_WORKER_CPU = 16
ROOM_PER_WORKER_CUDA = 256


@dataclass(slots=True)
class Worker:
    """One worker process, as the coordinator sees it."""

    number: int
    place: WorkerPlace
    process: BaseProcess
    connection: Connection
    ready: bool = False
    key: Hashable = None
    """The fusion key of its present cohort."""
    jobs: dict[int, PlannedJob] = field(default_factory=dict)
    """Its unfinished jobs by trial."""
    heard: float = 0.0
    """When it last sent something, monotonic seconds."""
    kill_reason: FailureReason | None = None
    """Why we killed it ourselves."""


class LocalExecutor:
    """See `execute.executor.Executor`. A worker that dies fails the trials that it held, and is replaced."""

    def __init__(self, spec: SweepSpec, paths: StudyPaths, places: Sequence[WorkerPlace]) -> None:
        """Start the workers; they load the data while the caller goes on."""
        self.spec = spec
        self.paths = paths
        set_numeric_environment(places[0].threads)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tuner.execute.worker"])
        self._pending: list[PlannedJob] = []
        self._isolated: set[int] = set()
        """Trials that were in a cohort whose worker died: each goes on alone, so that the culprit is found."""
        self._interrupted = False
        self._ready_events: list[TrialEvent] = []
        self._workers = [self._start(number, place) for number, place in enumerate(places)]
        self._facts: TaskFacts | None = None
        self._planner: Planner | None = None

    @property
    def facts(self) -> TaskFacts:
        if self._facts is None:
            self._facts = self._wait_for_facts()
        return self._facts

    @property
    def planner(self) -> Planner:
        if self._planner is None:
            self._planner = Planner(self.spec, self.facts, num_workers=len(self._workers))
        return self._planner

    # The seam

    def submit(self, jobs: Sequence[TrialJob]) -> None:
        self._pending += [self.planner.describe(job) for job in jobs]
        self._dispatch()

    def room(self) -> int:
        if self._interrupted:
            return 0
        cuda = self._workers[0].place.device.startswith("cuda")
        capacity = len(self._workers) * (ROOM_PER_WORKER_CUDA if cuda else ROOM_PER_WORKER_CPU)
        busy = len(self._pending) + sum(len(w.jobs) for w in self._workers)
        return capacity - busy if busy <= capacity // 2 else 0

    def events(self, timeout_seconds: float) -> list[TrialEvent]:
        found, self._ready_events = self._ready_events, []
        if not found:
            waiting: list[Any] = [w.connection for w in self._workers] + [w.process.sentinel for w in self._workers]
            wait(waiting, timeout_seconds)
        for worker in list(self._workers):
            found += self._receive(worker)
        found += self._watch_limits()
        self._dispatch()
        return found

    def interrupt(self) -> None:
        self._interrupted = True
        self._ready_events += [TrialInterrupted(trial=p.job.trial, epoch=0) for p in self._pending]
        self._pending = []
        for worker in self._workers:
            self._send(worker, ("interrupt",))

    def close(self) -> None:
        for worker in self._workers:
            self._send(worker, ("close",))
        deadline = time.monotonic() + JOIN_SECONDS
        for worker in self._workers:
            busy = bool(worker.jobs)
            worker.process.join(0.0 if busy else max(0.0, deadline - time.monotonic()))
            self._kill(worker)
            worker.process.join()
            worker.connection.close()
        self._workers = []

    # Workers

    def _start(self, number: int, place: WorkerPlace) -> Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_worker_entry,
            args=(theirs, self.spec, str(self.paths.folder), f"worker {number}", place),
            daemon=True,
        )
        process.start()
        theirs.close()
        return Worker(number, place, process, ours, heard=time.monotonic())

    def _wait_for_facts(self) -> TaskFacts:
        while True:
            wait([w.connection for w in self._workers])
            for worker in self._workers:
                if not worker.connection.poll():
                    continue
                try:
                    match worker.connection.recv():
                        case ("ready", TaskFacts() as facts):
                            worker.ready = True
                            return facts
                        case ("refused", TunerError() as error):
                            raise error
                except (EOFError, ConnectionError):
                    worker.process.join()
                    code = worker.process.exitcode
                    raise TunerError(
                        f"a worker ended with exit code {code} while it loaded the data; "
                        "run with --engine inline to see why"
                    ) from None

    def _dispatch(self) -> None:
        """Give idle workers a cohort each, and let waiting jobs join cohorts of their kind."""
        for worker in self._workers:
            if not worker.ready or not self._pending:
                continue
            if not worker.jobs:
                self._begin(worker)
            elif worker.key is not None:
                self._refill(worker)

    def _begin(self, worker: Worker) -> None:
        alone = next((p for p in self._pending if p.job.trial in self._isolated), None)
        if alone is not None:
            chosen: tuple[PlannedJob, ...] = (alone,)
        else:
            cohort = self.planner.next_cohort(self._pending)
            assert cohort is not None
            chosen = cohort.jobs
        worker.key = None if alone is not None else chosen[0].key
        self._give(worker, chosen, "train")

    def _refill(self, worker: Worker) -> None:
        same = [p for p in self._pending if p.key == worker.key and p.job.trial not in self._isolated]
        if same:
            free = self.planner.max_width(same[0]) - len(worker.jobs)
            if free > 0:
                self._give(worker, same[:free], "join")

    def _give(self, worker: Worker, chosen: Sequence[PlannedJob], verb: str) -> None:
        trials = {p.job.trial for p in chosen}
        self._pending = [p for p in self._pending if p.job.trial not in trials]
        worker.jobs |= {p.job.trial: p for p in chosen}
        worker.heard = time.monotonic()
        self._send(worker, (verb, [p.job for p in chosen]))

    def _send(self, worker: Worker, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(OSError):  # a dead worker is noticed by its sentinel
            worker.connection.send(message)

    def _receive(self, worker: Worker) -> list[TrialEvent]:
        found: list[TrialEvent] = []
        try:
            while worker.connection.poll():
                worker.heard = time.monotonic()
                match worker.connection.recv():
                    case ("events", events):
                        for event in events:
                            if not isinstance(event, TrialStarted | EpochsFinished):
                                worker.jobs.pop(event.trial, None)
                                self._isolated.discard(event.trial)
                        found += events
                    case ("ready", _):
                        worker.ready = True
                    case ("refused", TunerError() as error):
                        raise error
                    case _:
                        pass
        except (EOFError, ConnectionError):
            return found + self._bury(worker)
        if worker.process.exitcode is not None and not worker.connection.poll():
            found += self._bury(worker)
        return found

    def _bury(self, worker: Worker) -> list[TrialEvent]:
        """A worker has died: its trials fail, and another takes its place."""
        worker.process.join(JOIN_SECONDS)
        self._kill(worker)
        code = worker.process.exitcode
        worker.connection.close()
        self._workers[self._workers.index(worker)] = self._start(worker.number, worker.place)
        alone = len(worker.jobs) == 1
        if not alone and worker.kill_reason is None and not self._interrupted:
            self._isolated |= set(worker.jobs)
            self._pending += worker.jobs.values()
            return []
        reason, message = _cause_of_death(code)
        if worker.kill_reason is not None:
            reason, message = worker.kill_reason, f"the worker was ended: {worker.kill_reason}"
        return [
            TrialFailed(trial=trial, reason=reason, message=message, retryable=reason is FailureReason.KILLED)
            for trial in worker.jobs
        ]

    def _kill(self, worker: Worker) -> None:
        """End a worker and everything that it started."""
        pid = worker.process.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)

    def _watch_limits(self) -> list[TrialEvent]:
        """Kill workers that have been silent for longer than a trial may stall."""
        now = time.monotonic()
        for worker in self._workers:
            if worker.jobs and worker.ready and now - worker.heard > self.spec.limits.stall_seconds:
                worker.kill_reason = FailureReason.STALLED
                self._kill(worker)
        return []


def _worker_entry(connection: Connection, spec: SweepSpec, folder: str, name: str, place: WorkerPlace) -> None:
    from tuner.execute.worker import worker_main

    worker_main(connection, spec, folder, name, place.device, place.threads, place.core)


def _cause_of_death(code: int | None) -> tuple[FailureReason, str]:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return FailureReason.KILLED, f"its process was killed by {name} (signal {-code})"
    return FailureReason.EXITED, f"its process ended with exit code {code}"
