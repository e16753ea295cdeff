"""The coordinator's side of worker processes, wherever they are: who trains what, and what follows a death."""

from __future__ import annotations

import atexit
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tuner.errors import DataError, StudyMismatchError, TunerError
from tuner.execute.facts import TaskFacts, agreed
from tuner.execute.planner import Planner
from tuner.execute.printed import append
from tuner.execute.process import JOIN_SECONDS
from tuner.execute.scarcity import MemoryLimit, killed_in_training, no_memory_to_load
from tuner.execute.suspects import Suspects
from tuner.execute.waiting import PlannedJob, Waiting
from tuner.execute.watched import Worker, loading_failed, loading_stalled
from tuner.execute.widths import Footprint
from tuner.paths import StudyPaths, TrialPaths
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
from tuner.train.way import Way

log = logging.getLogger(__name__)

_WATCH_SECONDS = 1.0
"""While workers load, it is looked so often whether one has stalled."""
_BETWEEN_WATCHES_SECONDS = 0.1
"""A look at each of very many workers takes longer than what most calls of `events` have to do."""
_DECIDED_AT_ONCE = 100
"""Of so many workers one may wait until another has nothing to do either: of thousands, some end each second, and a
search that decides for ten at once looks at all trials once, not ten times."""
_MAX_EARLY_DEATHS = 3
"""So many workers may die in a row before one of them has loaded the data."""


class WorkerPool(ABC):
    """See `execute.executor.Executor`. A worker that dies is replaced, and its trials go on from their checkpoints.

    An executor of this kind says where processes come from: `_another`, how it hears of them: `_wait`, and
    `_look_for_more` where some come later.
    """

    def __init__(self, spec: SweepSpec, paths: StudyPaths) -> None:
        self.spec = spec
        self.paths = paths
        self._pending = Waiting()
        self._keepers: dict[str, Worker] = {}
        """Which worker has stopped the program of a paused trial, by the trial's folder: only there it goes on."""
        self._bound: list[tuple[Worker, PlannedJob]] = []
        """Jobs that wait for such a worker; they keep no other from work of its own."""
        self._suspects = Suspects()
        self._early_deaths = 0
        self._said: set[str] = set()
        """What workers have said, which is passed on once."""
        self._found: list[bytes] = []
        """What workers have found out about users' modules, which each of them is told."""
        self._interrupted = False
        self._ready_events: list[TrialEvent] = []
        self._failure: TunerError | None = None
        self._facts: TaskFacts | None = None
        self._planner: Planner | None = None
        self._watched = 0.0
        self.workers: list[Worker] = []
        atexit.register(self.close)  # or else Python would wait for the workers before it ends

    @abstractmethod
    def _another(self, lost: Worker) -> Worker | None:
        """A worker in the place of one that has died; None if that place is gone."""

    @abstractmethod
    def _wait(self, timeout_seconds: float) -> list[Worker]:
        """Wait until workers have sent something, or have died; returns them."""

    def _look_for_more(self) -> None:  # noqa: B027  # most have all their workers from the start
        """Take in workers that have come since the last call."""

    @property
    def facts(self) -> TaskFacts:
        while self._facts is None:
            self._look_for_more()
            self._ready_events += self._receive_all(_WATCH_SECONDS)
            self._watch_all()
            if self._failure is not None:
                raise self._failure
        return self._facts

    @property
    def planner(self) -> Planner:
        if self._planner is None:
            self._planner = Planner(self.spec, self.facts, num_workers=len(self.workers))
        return self._planner

    # The seam

    def check_model(self) -> None:
        worker = next(w for w in self.workers if w.ready)
        worker.process.send("check")
        worker.is_checking = True
        end = time.monotonic() + self.spec.limits.stall_seconds
        while worker in self.workers and worker.is_checking:
            if time.monotonic() >= end:
                worker.process.kill()
            self._ready_events += self._receive_all(max(0.0, end - time.monotonic()))
            if self._failure is not None:
                raise self._failure

    def submit(self, jobs: Sequence[TrialJob]) -> None:
        self.planner.num_workers = max(1, len(self.workers))  # on a cluster some come and go
        for job in jobs:
            planned, keeper = self.planner.describe(job), self._keepers.get(job.folder)
            if keeper is None:
                self._pending.add([planned])
            else:
                self._bound.append((keeper, planned))
        self._dispatch()

    def room(self) -> int:
        if self._interrupted:
            return 0
        each = self.planner.room_per_worker
        capacity = len(self.workers) * each
        busy = len(self._pending) + len(self._bound) + sum(len(w.jobs) for w in self.workers)
        if self.planner.cohorts is not None:
            return 0 if self._pending else each * sum(not worker.jobs for worker in self.workers)
        if busy <= capacity // 2:  # half of it at once, so that cohorts fill
            return capacity - busy
        # But nobody waits for that who has nothing to do, whatever the others have.
        num_idle = 0 if self._pending else sum(w.is_idle for w in self.workers)
        return num_idle * each if num_idle > len(self.workers) // _DECIDED_AT_ONCE else 0

    def events(self, timeout_seconds: float) -> list[TrialEvent]:
        found, self._ready_events = self._ready_events, []
        found += self._receive_all(0.0 if found else timeout_seconds)
        if self._failure is not None and not found and not self._interrupted:
            raise self._failure
        self._watch_all()
        self._look_for_more()
        self._dispatch()
        return found

    def let_go(self, folders: Sequence[str]) -> None:
        for folder in folders:
            if (keeper := self._keepers.get(folder)) is not None:
                keeper.process.send("drop", folder)

    def interrupt(self) -> None:
        self._interrupted = True
        self._dispatch()
        for worker in self.workers:
            worker.process.send("interrupt")

    def close(self) -> None:
        for worker in self.workers:
            if worker.ready and not worker.jobs:
                worker.process.ask_to_end()
            else:
                worker.process.kill()
        deadline = time.monotonic() + JOIN_SECONDS
        for worker in self.workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            worker.process.kill()
            worker.process.bury()
            worker.process.printed.close()
        self.workers = []
        atexit.unregister(self.close)

    # Jobs

    def _dispatch(self) -> None:
        """Give idle workers a cohort each, and let waiting jobs join cohorts of their kind."""
        if self._interrupted:
            waiting = [*self._pending.take_all(), *(planned for _, planned in self._bound)]
            self._bound = []
            self._ready_events += [TrialInterrupted(trial=p.job.trial) for p in waiting]
        for worker, planned in [(worker, planned) for worker, planned in self._bound if worker.is_idle]:
            if worker.is_idle:
                self._bound.remove((worker, planned))
                worker.key = None
                self._hand(worker, [planned], "train")
        if not self._pending:
            return
        num_free = sum(not worker.jobs for worker in self.workers)
        for worker in self.workers:
            if self._pending and worker.is_idle:
                self._begin(worker, num_free=num_free)
                num_free -= 1
        # Where one has nothing to do yet, what waits is left to it: it will be ready soon.
        if self._pending and all(worker.jobs for worker in self.workers):
            for worker in self.workers:
                if worker.key is not None:
                    self._refill(worker)

    def _begin(self, worker: Worker, *, num_free: int) -> None:
        """Give it a cohort; so many workers have none, those included that still load."""
        alone = self._suspects.first_of(self._pending)
        if alone is not None:
            worker.key = None
            self._give(worker, [alone], "train")
            return
        cohort = self.planner.next_cohort(self._pending, idle=num_free)
        assert cohort is not None
        worker.key = cohort.jobs[0].key
        self._give(worker, cohort.jobs, "train")
        self.planner.widths.note_cohort(len(worker.jobs))

    def _refill(self, worker: Worker) -> None:
        same = [p for p in self._pending.of(worker.key) if p.job.trial not in self._suspects]
        if joining := self.planner.joining(same, members=[*worker.jobs.values()]):
            self._give(worker, joining, "join")
            self.planner.widths.note_cohort(len(worker.jobs))

    def _give(self, worker: Worker, chosen: Sequence[PlannedJob], verb: str) -> None:
        self._pending.take(chosen)
        self._hand(worker, chosen, verb)

    def _hand(self, worker: Worker, chosen: Sequence[PlannedJob], verb: str) -> None:
        worker.jobs |= {p.job.trial: p for p in chosen}
        worker.heard = worker.told = time.monotonic()
        worker.process.send(verb, [p.job for p in chosen])

    # Workers

    def _watch_all(self) -> None:
        now = time.monotonic()
        if now - self._watched < _BETWEEN_WATCHES_SECONDS:
            return
        self._watched = now
        for worker in self.workers:
            worker.watch(self.spec.limits)

    def _receive_all(self, timeout_seconds: float) -> list[TrialEvent]:
        return [event for worker in self._wait(timeout_seconds) for event in self._receive(worker)]

    def _receive(self, worker: Worker) -> list[TrialEvent]:
        found: list[TrialEvent] = []
        try:
            for message in worker.process.received():
                worker.heard = time.monotonic()
                match message:
                    case ("events", events):
                        worker.told = worker.heard
                        for event in events:
                            self._note(worker, event)
                        found += events
                    case _:
                        self._heed(worker, message)
        except EOFError:
            found += self._after_death(worker)
        return found

    def _heed(self, worker: Worker, message: tuple[Any, ...]) -> None:
        match message:
            case ("ready", TaskFacts() as facts):
                worker.ready = True
                self._early_deaths = 0
                self._take_facts(facts)
                for what in self._found:
                    worker.process.send("found", what)
            case ("refused", TunerError() as error):
                self._failure = self._failure or error
            case ("no memory", str(said), limit):
                assert limit is None or isinstance(limit, MemoryLimit)
                told = no_memory_to_load(self.spec, num_workers=self._beside(worker), limit=limit, cause=said)
                self._failure = self._failure or DataError(told)
            case ("checked",):
                worker.is_checking = False
            case ("found", bytes(what)):
                self._pass_on(what, but=worker)
            case ("kept", frozenset(folders)):
                self._note_kept(worker, folders)
            case ("spent", int(trial)):
                worker.is_spent = True
                self._suspects.add(trial)
            case ("too wide", int(width)):
                self.planner.too_wide(worker.key, width)
            case ("measured", Footprint() as footprint):
                if worker.jobs:
                    self.planner.note_footprint([*worker.jobs.values()], footprint)
            case ("log", int(level), str(text)):
                # All workers load the same data, or build the same network, and find the same to say.
                if text not in self._said:
                    self._said.add(text)
                    log.log(level, "%s", text)

    def _pass_on(self, what: bytes, *, but: Worker) -> None:
        """Tell all other workers, now and later, what one has found out."""
        self._found.append(what)
        for other in self.workers:
            if other is not but and other.ready:
                other.process.send("found", what)

    def _note_kept(self, worker: Worker, folders: frozenset[str]) -> None:
        """A worker keeps the programs of these trials, and of no others."""
        self._keepers = {folder: other for folder, other in self._keepers.items() if other is not worker}
        self._keepers |= dict.fromkeys(folders, worker)

    def _take_facts(self, facts: TaskFacts) -> None:
        """Keep what the first worker found; what others have loaded, now or in a dead one's place, must equal it."""
        try:
            self._facts = facts if self._facts is None else agreed(self._facts, facts)
        except StudyMismatchError as error:
            self._failure = self._failure or error

    def _note(self, worker: Worker, event: TrialEvent) -> None:
        match event:
            case EpochsFinished(trial=trial, results=results):
                worker.seconds[trial] = results[-1].seconds
            case TrialStarted(trial=trial, path=path):
                if trial in worker.jobs:
                    self.planner.widths.note_way(worker.jobs[trial].key, fused=Way(path).is_fused)
            case _:
                worker.jobs.pop(event.trial, None)
                seconds = worker.seconds.pop(event.trial, None)
                if seconds is not None:
                    self.planner.note_seconds(seconds)
                self._suspects.discard(event.trial)

    def _after_death(self, worker: Worker) -> list[TrialEvent]:
        """Put another worker in the place of one that has died; say or see to what becomes of its trials."""
        self._note_kept(worker, frozenset())
        self._pending.add(planned for keeper, planned in self._bound if keeper is worker)
        self._bound = [(keeper, planned) for keeper, planned in self._bound if keeper is not worker]
        reason, cause, from_outside = worker.process.bury()
        was_at_work = bool(worker.jobs) or worker.is_checking
        if worker.process.was_killed and was_at_work and not worker.stalled and not worker.overtime:
            cause = killed_in_training(
                self.spec, num_workers=self._beside(worker), said=cause, scarcity=worker.process.scarcity
            )
        killed_in_loading = not worker.ready and not worker.stalled and worker.process.was_killed
        words = worker.process.printed.take()
        for planned in worker.jobs.values():
            append(TrialPaths(Path(planned.job.folder)).log, words)
        worker.process.printed.close()
        if killed_in_loading and self._failure is None and not self._interrupted:
            self._go_on_without(worker)
        elif self._interrupted or self._failure is not None:
            self.workers.remove(worker)
        else:
            self._replace(worker)
        if not worker.ready and worker.stalled:
            self._failure = self._failure or loading_stalled(self.spec.limits.stall_seconds, words)
        elif not worker.ready and not killed_in_loading and not worker.process.went_with_its_machine:
            self._count_early_death(cause, words)
        if worker.is_checking:  # one configuration may be to blame, and its trial will tell
            log.warning("the first look at %s killed its worker: %s", self.spec.model.kind, cause)
        if self._interrupted:
            return [TrialInterrupted(trial=trial) for trial in worker.jobs]
        if self._failure is not None:
            self._pending.add(worker.jobs.values())  # the run is over: they are told of when it is interrupted
            return []
        if worker.is_spent:
            self._pending.add(worker.jobs.values())
            return []
        if worker.overtime:
            self._pending.add(p for trial, p in worker.jobs.items() if trial not in worker.overtime)
            cause = "it was still in an epoch when its time was over; limits.trial_seconds is "
            cause, reason = f"{cause}{self.spec.limits.trial_seconds:g}", FailureReason.TIMEOUT
            return [TrialFailed(trial=t, reason=reason, message=cause) for t in worker.jobs if t in worker.overtime]
        if worker.stalled:
            reason, from_outside = FailureReason.STALLED, False
            cause = f"it finished no epoch for {self.spec.limits.stall_seconds:g} s"
        if len(worker.jobs) == 1 and not worker.process.went_with_its_machine:
            (trial,) = worker.jobs
            return [TrialFailed(trial=trial, reason=reason, message=cause, retryable=from_outside)]
        self._send_on(worker, cause, from_outside=from_outside)
        return []

    def _replace(self, lost: Worker) -> None:
        at, another = self.workers.index(lost), self._another(lost)
        self.workers[at : at + 1] = [another] if another is not None else []

    def _go_on_without(self, worker: Worker) -> None:
        """Start no other in the place of one that was killed while it loaded, as it is where memory runs out."""
        limit, cause = worker.process.scarcity.limit, "a worker was killed by SIGKILL"
        told = no_memory_to_load(self.spec, num_workers=self._beside(worker), limit=limit, cause=cause)
        self.workers.remove(worker)
        if not self.workers:
            self._failure = DataError(told)
            return
        log.warning("%s; going on with %d of them", told, len(self.workers))

    def _beside(self, worker: Worker) -> int:
        """How many workers there are on the machine of one, itself included."""
        return sum(other.node == worker.node for other in self.workers)

    def _send_on(self, worker: Worker, cause: str, *, from_outside: bool) -> None:
        """The trials of a cohort whose worker has died go on: together, or if one of them may be to blame, alone."""
        if not worker.jobs:
            return
        # No trial is to blame for the loss of a machine.
        one_by_one = not worker.process.went_with_its_machine and self._suspects.after_death(
            worker.jobs, from_outside=from_outside
        )
        self._pending.add(worker.jobs.values())
        log.warning(
            "%s was lost with %d trials in training (%s); they go on from their checkpoints%s",
            worker.shown, len(worker.jobs), cause, ", one by one" if one_by_one else "",
        )  # fmt: skip

    def _count_early_death(self, cause: str, words: bytes) -> None:
        self._early_deaths += 1
        if self._early_deaths >= _MAX_EARLY_DEATHS and self._failure is None:
            self._failure = loading_failed(self._early_deaths, cause, words)
