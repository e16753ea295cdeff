"""The one loop: a strategy decides, an executor trains, the store remembers."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from tuner.errors import FailureLimitError
from tuner.execute.executor import Executor
from tuner.records import (
    EpochsFinished,
    FailureReason,
    Json,
    TrialEvent,
    TrialFailed,
    TrialInterrupted,
    TrialJob,
    TrialRecord,
    TrialStarted,
    TrialState,
)
from tuner.search.strategy import Advance, Decision, Start, Stop, Strategy
from tuner.spec.model import LimitsSpec
from tuner.store.store import StudyStore
from tuner.sweep.watcher import Watcher

WAIT_SECONDS = 0.5


Folders = Callable[[int], Path]
"""Where a trial's files go, by its number."""


class StopRequest:
    """Set by a signal or by a time limit: the sweep checkpoints and ends."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.out_of_time = False

    @property
    def requested(self) -> bool:
        return self.signal is not None or self.out_of_time

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within the block the first SIGINT or SIGTERM asks to stop; a second one acts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(number: int, frame: FrameType | None) -> None:
            if self.signal is not None:
                raise KeyboardInterrupt
            self.signal = number

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


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
        facts: Callable[[int], Mapping[str, Json]] | None = None,
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
            facts: First facts of a new trial, by its number.
            trial_seed: The seed of every trial, instead of each one's own.
        """
        self.trial_seed = trial_seed
        self.facts = facts
        self.strategy = strategy
        self.store = store
        self.executor = executor
        self.folders = folders
        self.limits = limits
        self.watcher = watcher
        self.stop = stop
        self._active: set[int] = set()
        self._same_failures: tuple[str, int] = ("", 0)

    def run(self, again: Sequence[TrialRecord] = ()) -> bool:
        """Train until the strategy is done, or a stop is requested.

        Args:
            again: Failed trials to try once more.

        Returns:
            Whether the search is complete.

        Raises:
            FailureLimitError: trials kept failing in the same way.
            StorageError: the database cannot take results.
        """
        self._submit([self.store.advance(r.number, r.to_epoch) for r in (*self.store.interrupted(), *again)])
        while not self.stop.requested:
            room = self.executor.room()
            decisions = self.strategy.decide(self.store.records(), room) if room else []
            for line in self.strategy.explain():
                self.watcher.said(line)
            self._carry_out(decisions)
            if not self._active and (room and not decisions):
                break
            self._handle(self.executor.events(WAIT_SECONDS if self._active else 0.0))
        if self.stop.requested:
            self._interrupt()
            return False
        self._end_paused()
        return True

    def _carry_out(self, decisions: Sequence[Decision]) -> None:
        starts: list[Start] = []
        records: list[TrialRecord] = []
        for decision in decisions:
            match decision:
                case Start():
                    starts.append(decision)
                case Advance(trial=trial, to_epoch=to_epoch):
                    records.append(self.store.advance(trial, to_epoch))
                case Stop(trial=trial, reason=reason):
                    self._ended(self.store.end(trial, TrialState.PRUNED, reason))
        if starts:
            first = len(self.store.records())
            facts = [self.facts(first + i) for i in range(len(starts))] if self.facts else ()
            records += self.store.start([(s.params, s.to_epoch, s.tier) for s in starts], facts=facts)
        self._submit(records)

    def _submit(self, records: Sequence[TrialRecord]) -> None:
        if not records:
            return
        self._active |= {record.number for record in records}
        self.watcher.started(records)
        self.executor.submit([self._job(record) for record in records])

    def _job(self, record: TrialRecord) -> TrialJob:
        return TrialJob(
            trial=record.number,
            params=record.params,
            seed=record.seed if self.trial_seed is None else self.trial_seed,
            to_epoch=record.to_epoch,
            folder=str(self.folders(record.number)),
        )

    def _handle(self, events: Sequence[TrialEvent]) -> None:
        progressed: dict[int, TrialRecord] = {}
        ended: list[TrialRecord] = []
        again: list[TrialRecord] = []
        for event in events:
            if isinstance(event, TrialFailed) and self._may_retry(event):
                again.append(self.store.advance(event.trial, self.store.records()[event.trial].to_epoch))
                continue
            record = self.store.record(event)
            if isinstance(event, TrialStarted | EpochsFinished):
                progressed[record.number] = record
                continue
            self._active.discard(record.number)
            if isinstance(event, TrialFailed) and event.traceback:
                self._log_traceback(event)
            if record.state.final:
                ended.append(record)
        if progressed:
            self.watcher.progressed(list(progressed.values()))
        if ended:
            self.store.flush()
        for record in ended:
            self._ended(record)
        self._submit(again)

    def _may_retry(self, event: TrialFailed) -> bool:
        """Whether a trial whose process was killed goes on from its checkpoint."""
        record = self.store.records()[event.trial]
        return event.retryable and record.attempts <= self.limits.retries and not self.stop.requested

    def _ended(self, record: TrialRecord) -> None:
        self.watcher.ended(record)
        if record.state is TrialState.FAILED and not record.reason.startswith(FailureReason.DIVERGED):
            reason, count = self._same_failures
            self._same_failures = (record.reason, count + 1 if record.reason == reason else 1)
            self._check_failures()
        elif record.state is TrialState.COMPLETE:
            self._same_failures = ("", 0)

    def _check_failures(self) -> None:
        reason, count = self._same_failures
        if count >= self.limits.consecutive_failures:
            raise FailureLimitError(
                f"{count} trials in a row failed in the same way, so the sweep was stopped: {reason}\n"
                "mend the cause and run again, or raise limits.consecutive_failures"
            )

    def _log_traceback(self, event: TrialFailed) -> None:
        folder = self.folders(event.trial)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "log.txt").open("a") as file:
            file.write(event.traceback)

    def _interrupt(self) -> None:
        """Let the executor checkpoint what runs."""
        self.executor.interrupt()
        while self._active:
            events = self.executor.events(WAIT_SECONDS)
            self._handle([e for e in events if not isinstance(e, TrialInterrupted)])
            for event in events:
                if isinstance(event, TrialInterrupted):
                    self.store.record(event)
                    self._active.discard(event.trial)
        self.store.flush()

    def _end_paused(self) -> None:
        """Trials that the search no longer wants are pruned, with their best value."""
        for record in self.store.records():
            if record.state is TrialState.PAUSED:
                reason = f"not advanced beyond epoch {record.epochs}"
                self._ended(self.store.end(record.number, TrialState.PRUNED, reason))
        self.store.flush()
