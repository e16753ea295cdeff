"""The one loop: a strategy decides, an executor trains, the store remembers."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tuner.errors import ClusterLostError, DataError, FailureLimitError, UserCodeError
from tuner.execute.executor import Executor
from tuner.execute.printed import append
from tuner.faults import fault_point
from tuner.paths import TrialPaths
from tuner.records import (
    EpochsFinished,
    Json,
    TrialEvent,
    TrialFailed,
    TrialInterrupted,
    TrialJob,
    TrialRecord,
    TrialStarted,
    TrialState,
)
from tuner.search.strategy import Advance, Copy, Decision, Start, Stop, Strategy
from tuner.spec.model import LimitsSpec
from tuner.store.store import StudyStore
from tuner.sweep.failures import FailureCount
from tuner.sweep.stop import StopRequest
from tuner.sweep.taken_over import take_over
from tuner.sweep.told import Told
from tuner.sweep.watcher import Watcher

log = logging.getLogger(__name__)

_WAIT_SECONDS = 0.5
GRACE_SECONDS = 20.0
"""When asked to stop, trials are given so long to checkpoint; SLURM and Kubernetes kill after 30."""

Folders = Callable[[int], Path]
"""Where a trial's files go, by its number."""


class Sweep:
    """A strategy's run over a store and an executor."""

    def __init__(
        self,
        strategy: Strategy,
        store: StudyStore,
        executor: Executor,
        *,
        folders: Folders,
        limits: LimitsSpec,
        watcher: Watcher,
        stop: StopRequest,
        told: Told | None = None,
        facts: Callable[[int], Mapping[str, Json]] | None = None,
        trained_by: Callable[[Mapping[str, str]], None] | None = None,
        trial_seed: int | None = None,
    ) -> None:
        """Bring the parts together.

        Args:
            strategy: Decides.
            store: Remembers.
            executor: Trains.
            folders: Where each trial's files go.
            limits: When a trial or the sweep is given up.
            watcher: Is told.
            stop: Ends the sweep from outside.
            told: Which epochs the watcher was told of in earlier runs.
            facts: First facts of a new trial, by its number.
            trained_by: Is told of the files of the user's code that a trial is trained by, with their hashes.
            trial_seed: The seed of every trial, instead of each one's own.
        """
        self.trial_seed = trial_seed
        self.facts = facts
        self.trained_by = trained_by
        self.strategy = strategy
        self.store = store
        self.executor = executor
        self.folders = folders
        self.limits = limits
        self.watcher = watcher
        self.told = told or Told()
        self.stop = stop
        self._failures = FailureCount(limit=limits.consecutive_failures)
        self._retried: Counter[int] = Counter()
        self._active: set[int] = set()
        """Trials that the executor has."""
        self._continued: set[int] = set()
        """Trials that an earlier run, or a lost worker, left behind."""
        self._ending = False

    def run(self, again: Sequence[TrialRecord] = ()) -> bool:
        """Train until the strategy is done, or a stop is requested.

        Args:
            again: Failed trials to try once more.

        Returns:
            Whether the search is complete.

        Raises:
            FailureLimitError: trials kept failing in the same way.
            StorageError: the disk or the database cannot take results.
            DataError, UserCodeError: a worker could not be replaced.
            ClusterLostError: the cluster is gone.
        """
        self.told.trust(self.store.records())
        with self.stop.training():
            try:
                complete = self._train(again)
            except (FailureLimitError, DataError, UserCodeError, ClusterLostError):
                self._interrupt()  # the other trials are in order; they go on with the next run
                raise
            if complete:
                self._end_paused()
            else:
                self.watcher.said("stopping: trials write their checkpoints; a second signal ends at once")
                self._interrupt()
            return complete

    def _train(self, again: Sequence[TrialRecord]) -> bool:
        """Train until the strategy has nothing more to do (True), or a stop is requested."""
        self._failures.anything_reported = any(record.epochs for record in self.store.records())
        self._go_on([self.store.advance(r.number, r.to_epoch) for r in (*self.store.interrupted(), *again)])
        while not self.stop.requested:
            room = self.executor.room()
            decisions = self.strategy.decide(self.store.trials, room) if room else []
            for line in self.strategy.explain():
                self.watcher.said(line)
            self._carry_out(decisions)
            if not self._active and (room and not decisions):
                return True
            self._handle(self.executor.events(_WAIT_SECONDS if self._active else 0.0))
        return False

    def _go_on(self, records: Sequence[TrialRecord]) -> None:
        """Submit trials that were left behind."""
        self._continued |= {record.number for record in records}
        self._submit(records)

    def _carry_out(self, decisions: Sequence[Decision]) -> None:
        self._copy([decision for decision in decisions if isinstance(decision, Copy)])
        starts: list[Start] = []
        records: list[TrialRecord] = []
        stopped: list[TrialRecord] = []
        for decision in decisions:
            match decision:
                case Start():
                    starts.append(decision)
                case Advance(trial=trial, to_epoch=to_epoch):
                    records.append(self.store.advance(trial, to_epoch))
                case Stop(trial=trial, reason=reason):
                    stopped.append(self.store.end(trial, TrialState.PRUNED, reason))
        if starts:
            first = len(self.store.trials)
            facts = [self.facts(first + i) for i in range(len(starts))] if self.facts else ()
            proposed = [(s.params, s.to_epoch, s.tier) for s in starts]
            records += self.store.start(proposed, facts=facts, seed=self.trial_seed)
            fault_point("after_create")
        self._submit(records)
        self._announce(stopped)
        if stopped:
            self.executor.let_go([str(self.folders(record.number)) for record in stopped])

    def _copy(self, copies: Sequence[Copy]) -> None:
        """Give trials the checkpoints of others, and then the records: with neither, the same is decided again."""
        if not copies:
            return
        for copy in copies:
            take_over(TrialPaths(self.folders(copy.source)), TrialPaths(self.folders(copy.trial)))
        fault_point("after_take_over")
        self.store.copy([(copy.trial, copy.source, copy.params) for copy in copies])
        fault_point("after_copy")

    def _submit(self, records: Sequence[TrialRecord]) -> None:
        if not records:
            return
        self._active |= {record.number for record in records}
        self.watcher.started(records)
        self.executor.submit([self._job(record) for record in records])

    def _job(self, record: TrialRecord) -> TrialJob:
        assert record.seed is not None  # the store gives one to whatever is sent on
        return TrialJob(
            trial=record.number,
            params=record.params,
            seed=record.seed,
            to_epoch=record.to_epoch,
            folder=str(self.folders(record.number)),
            name=record.name,
            part=record.part,
            phases=record.phases,
        )

    def _handle(self, events: Sequence[TrialEvent]) -> None:
        ended: list[TrialRecord] = []
        again: list[TrialRecord] = []
        for event in events:
            match event:
                case TrialStarted():
                    if self.trained_by is not None:
                        self.trained_by(event.code)
                    self.told.begin(event.trial)
                    self._note_start(event, self.store.record(event))
                    continue
                case EpochsFinished():
                    self._failures.anything_reported = True
                    self._tell_epochs(event)
                    continue
                case TrialFailed(retryable=True) if self._ending:
                    event = TrialInterrupted(trial=event.trial)  # the next run tries it again
                case TrialFailed(retryable=True) if self._retried[event.trial] < self.limits.retries:
                    self._retried[event.trial] += 1
                    again.append(self.store.advance(event.trial, self._record(event.trial).to_epoch))
                    self.watcher.said(f"{again[-1].name} is tried again: {event.message}")
                    continue
                case TrialFailed():
                    self._log_failure(event)
            self._active.discard(event.trial)
            record = self.store.record(event)
            if record.state.final:
                ended.append(record)
        self._go_on(again)
        self._announce(ended)

    def _tell_epochs(self, event: EpochsFinished) -> None:
        """Tell of epochs before the trial's end is stored: of one that has ended no executor speaks again."""
        record = self.store.record(event)
        if results := self.told.new(event.trial, event.results):
            self.watcher.epochs(record, results)
            self.told.note(event.trial, results[-1].epoch)

    def _note_start(self, event: TrialStarted, record: TrialRecord) -> None:
        if event.trial in self._continued:
            self._continued.discard(event.trial)
            where = f"after epoch {event.from_epoch}" if event.from_epoch else "from its start"
            if event.from_step:
                where = f"after step {event.from_step} of epoch {event.from_epoch + 1}"
            self.watcher.said(f"{record.name} goes on {where}")

    def _record(self, trial: int) -> TrialRecord:
        return self.store.trials.numbered(trial)

    def _announce(self, ended: Sequence[TrialRecord]) -> None:
        """Tell of trials that have ended, once the database holds it.

        Raises:
            FailureLimitError: too many of them failed.
        """
        if not ended:
            return
        fault_point("before_tell")
        self.store.flush()
        fault_point("after_tell")
        for record in ended:
            self.watcher.ended(record)
        fault_point("after_announce")
        for record in ended:
            if not self._ending:
                self._failures.add(record)

    def _log_failure(self, event: TrialFailed) -> None:
        text = event.traceback or f"{event.reason}: {event.message}\n"
        append(TrialPaths(self.folders(event.trial)).log, text.encode(errors="backslashreplace"))

    def _interrupt(self) -> None:
        """Let the executor checkpoint what runs; what does not come to it in time has its last one."""
        self._ending = True
        self.executor.interrupt()
        deadline = time.monotonic() + GRACE_SECONDS
        while self._active and time.monotonic() < deadline:
            self._handle(self.executor.events(_WAIT_SECONDS))
        for trial in sorted(self._active):
            record = self.store.record(TrialInterrupted(trial=trial))
            log.warning("%s did not end in time; it goes on from its last checkpoint", record.name)
        self._active = set()
        self.store.flush()

    def _end_paused(self) -> None:
        """Trials that the search no longer wants are pruned, with their best value."""
        self._announce(
            [
                self.store.end(record.number, TrialState.PRUNED, f"not advanced beyond epoch {record.epochs}")
                for record in self.store.records()
                if record.state is TrialState.PAUSED
            ]
        )
        self.store.flush()
