"""What every executor promises; an executor's tests subclass `ExecutorContract` and provide `executor` and `job`.

Jobs are of one small sweep whose full training has `EPOCHS` epochs. Nothing here waits for a fixed time: `drain`
asks for events until all jobs have ended.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tuner.execute.executor import Executor
from tuner.records import (
    EpochResult,
    EpochsFinished,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialInterrupted,
    TrialJob,
    TrialPaused,
    TrialStarted,
)

EPOCHS = 4
TERMINAL = (TrialPaused, TrialFinished, TrialFailed, TrialInterrupted)
DEADLINE_SECONDS = 300.0

Figures = tuple[float, ...]


def drain(executor: Executor, jobs: Sequence[TrialJob], *, until: Callable[[], bool] | None = None) -> list[TrialEvent]:
    """All events until each job has ended (or until something else), in order."""
    open_trials = {job.trial for job in jobs}
    found: list[TrialEvent] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while open_trials and not (until is not None and until()):
        assert time.monotonic() < deadline, f"no end of trials {open_trials} in sight; so far: {found[-5:]}"
        for event in executor.events(0.2):
            found.append(event)
            if isinstance(event, TERMINAL):
                open_trials.discard(event.trial)
    return found


def ends(events: Sequence[TrialEvent]) -> dict[int, TrialEvent]:
    """The event that ended each trial."""
    return {event.trial: event for event in events if isinstance(event, TERMINAL)}


def starts(events: Sequence[TrialEvent]) -> list[TrialStarted]:
    return [event for event in events if isinstance(event, TrialStarted)]


def curve(events: Sequence[TrialEvent], trial: int) -> list[EpochResult]:
    """The epochs of a trial, each once: epochs that a trial repeats after a resume must repeat what they measured."""
    known: dict[int, EpochResult] = {}
    for event in events:
        if isinstance(event, EpochsFinished) and event.trial == trial:
            for result in event.results:
                assert result.epoch not in known or figures([known[result.epoch]]) == figures([result])
                known[result.epoch] = result
    return [known[epoch] for epoch in sorted(known)]


def figures(results: Sequence[EpochResult]) -> list[Figures]:
    """A curve without its clock."""
    return [(r.epoch, r.train_loss, r.dev_loss, r.train_metric, r.dev_metric, r.learning_rate) for r in results]


class ExecutorContract:
    """Tests of one executor."""

    def open(self) -> AbstractContextManager[Executor]:
        """A fresh executor of the same sweep and folders, closed at the end."""
        raise NotImplementedError

    def job(self, trial: int, *, to_epoch: int = EPOCHS, fails: bool = False) -> TrialJob:
        """A job; the same for the same arguments. Trials differ in a parameter that they can be fused in."""
        raise NotImplementedError

    @pytest.fixture
    def executor(self) -> Iterator[Executor]:
        with self.open() as executor:
            yield executor

    def test_says_what_the_task_is(self, executor: Executor) -> None:
        facts = executor.facts
        assert facts == executor.facts
        assert {"task", "input_shape", "num_outputs", "num_train", "num_dev"} <= set(facts.data)
        assert {"overhead_seconds", "flops_per_second"} <= set(facts.calibration)

    def test_every_job_starts_tells_each_epoch_once_and_ends_once(self, executor: Executor) -> None:
        jobs = [self.job(trial) for trial in range(5)]
        executor.submit(jobs)
        events = drain(executor, jobs)
        assert Counter(e.trial for e in events if isinstance(e, TERMINAL)) == Counter(range(5))
        for job in jobs:
            mine = [e for e in events if e.trial == job.trial]
            assert isinstance(mine[0], TrialStarted)
            assert isinstance(mine[-1], TrialFinished)
            told = [r.epoch for e in mine if isinstance(e, EpochsFinished) for r in e.results]
            assert told == list(range(1, EPOCHS + 1))
        assert executor.events(0.0) == []

    def test_a_trial_does_not_depend_on_its_company(self, executor: Executor) -> None:
        together = [self.job(trial) for trial in (0, 1, 2)]
        executor.submit(together)
        in_company = drain(executor, together)
        with self.elsewhere() as other:
            other.submit([self.job(1)])
            alone = drain(other, [self.job(1)])
        assert figures(curve(in_company, 1)) == figures(curve(alone, 1))

    def elsewhere(self) -> AbstractContextManager[Executor]:
        """A fresh executor that knows no checkpoint."""
        raise NotImplementedError

    def test_a_job_pauses_where_it_was_sent_and_goes_on_from_there(self, executor: Executor) -> None:
        executor.submit([self.job(0, to_epoch=2)])
        first = drain(executor, [self.job(0, to_epoch=2)])
        end = ends(first)[0]
        assert isinstance(end, TrialPaused)
        assert end.epoch == 2
        executor.submit([self.job(0)])
        second = drain(executor, [self.job(0)])
        assert isinstance(ends(second)[0], TrialFinished)
        assert [start.from_epoch for start in starts([*first, *second])] == [0, 2]
        with self.elsewhere() as other:
            other.submit([self.job(0)])
            unbroken = drain(other, [self.job(0)])
        assert figures(curve([*first, *second], 0)) == figures(curve(unbroken, 0))

    def test_another_executor_goes_on_from_the_checkpoint_and_tells_all_that_was_before(
        self, executor: Executor
    ) -> None:
        executor.submit([self.job(0, to_epoch=3)])
        before = drain(executor, [self.job(0)])
        with self.open() as other:
            other.submit([self.job(0)])
            events = drain(other, [self.job(0)])
        assert [start.from_epoch for start in starts(events)] == [3]
        assert isinstance(ends(events)[0], TrialFinished)
        # The coordinator may have been killed before it stored what it was told.
        assert figures(curve(events, 0))[:3] == figures(curve(before, 0))
        assert [result.epoch for result in curve(events, 0)] == list(range(1, EPOCHS + 1))

    def test_a_job_that_asks_for_no_more_than_there_is_ends_at_once(self, executor: Executor) -> None:
        for _ in range(2):
            executor.submit([self.job(0, to_epoch=2)])
            events = drain(executor, [self.job(0)])
            end = ends(events)[0]
            assert isinstance(end, TrialPaused)
            assert end.epoch == 2
        assert [start.from_epoch for start in starts(events)] == [2]

    def test_a_trial_that_fails_leaves_the_others_alone(self, executor: Executor) -> None:
        jobs = [self.job(0), self.job(1, fails=True), self.job(2)]
        executor.submit(jobs)
        events = drain(executor, jobs)
        found = ends(events)
        failed = found[1]
        assert isinstance(failed, TrialFailed)
        assert failed.message
        assert not failed.retryable
        assert isinstance(found[0], TrialFinished)
        assert isinstance(found[2], TrialFinished)
        with self.elsewhere() as other:
            other.submit([self.job(2)])
            assert figures(curve(events, 2)) == figures(curve(drain(other, [self.job(2)]), 2))

    def test_has_room_until_it_has_enough_and_again_when_it_is_idle(self, executor: Executor) -> None:
        assert executor.facts
        room = executor.room()
        assert room > 0
        jobs = [self.job(trial, to_epoch=1) for trial in range(room)]
        executor.submit(jobs)
        assert executor.room() == 0
        drain(executor, jobs, until=lambda: executor.room() > 0)
        drain(executor, [])
        for _ in range(100):
            if executor.room() > 0:
                break
            executor.events(0.1)
        assert executor.room() > 0  # not the same room: by now it may know better how much is enough

    def test_jobs_may_come_while_others_are_in_training(self, executor: Executor) -> None:
        executor.submit([self.job(0), self.job(1)])
        events = executor.events(10.0)
        executor.submit([self.job(2), self.job(3)])
        open_jobs = [job for job in map(self.job, range(4)) if job.trial not in ends(events)]
        events += drain(executor, open_jobs)
        assert Counter(e.trial for e in events if isinstance(e, TERMINAL)) == Counter(range(4))
        assert all(isinstance(end, TrialFinished) for end in ends(events).values())

    def test_an_interrupt_ends_every_job_and_nothing_is_lost(self, executor: Executor) -> None:
        jobs = [self.job(trial) for trial in range(6)]
        executor.submit(jobs)
        events = executor.events(10.0)
        executor.interrupt()
        assert executor.room() == 0
        events += drain(executor, [job for job in jobs if job.trial not in ends(events)])
        assert Counter(e.trial for e in events if isinstance(e, TERMINAL)) == Counter(range(6))
        cut = [job for job in jobs if isinstance(ends(events)[job.trial], TrialInterrupted)]
        reached = {job.trial: max([r.epoch for r in curve(events, job.trial)], default=0) for job in cut}
        with self.open() as other:
            other.submit(cut)
            more = drain(other, cut)
        assert {s.trial: s.from_epoch for s in starts(more)} == reached
        assert all(isinstance(end, TrialFinished) for end in ends(more).values())
        for job in jobs:
            with self.elsewhere() as fresh:
                fresh.submit([job])
                assert figures(curve([*events, *more], job.trial)) == figures(curve(drain(fresh, [job]), job.trial))
            break  # one is enough

    def test_a_job_that_comes_after_an_interrupt_ends_interrupted(self, executor: Executor) -> None:
        executor.interrupt()
        executor.submit([self.job(0)])
        events = drain(executor, [self.job(0)])
        assert isinstance(ends(events)[0], TrialInterrupted)
        assert not starts(events)

    def test_closes_in_the_middle_of_a_job_and_may_be_closed_twice(self, tmp_path: Path) -> None:
        with self.open() as executor:
            executor.submit([self.job(trial) for trial in range(3)])
            executor.events(10.0)
            executor.close()
