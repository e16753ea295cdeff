"""Running cohorts to their ends in this process, whatever their members do."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from tuner.errors import StorageError, StudyMismatchError
from tuner.execute.ended import Ended
from tuner.execute.memory import Memory, room_bytes
from tuner.execute.widths import Footprint
from tuner.records import (
    EpochsFinished,
    FailureReason,
    TrialEvent,
    TrialFailed,
    TrialInterrupted,
    TrialJob,
    TrialStarted,
)
from tuner.train.before.footprint import bytes_of
from tuner.train.loop.cohort import Cohort
from tuner.train.loop.resting import resting_of
from tuner.train.loop.trade_offs import infeasible
from tuner.train.own.open import open_loop
from tuner.train.own.task import OwnTask
from tuner.train.programs.modules.recheck import RowsDifferError
from tuner.train.task import Task

log = logging.getLogger(__name__)


class Group(Protocol):
    """Jobs that advance together: a cohort, or trials of the user's own training code."""

    @property
    def unfinished(self) -> list[TrialJob]:
        """The jobs that have not ended."""
        ...

    def join(self, jobs: Sequence[TrialJob]) -> None:
        """Let jobs of the same fusion key join."""
        ...

    def interrupt(self) -> None:
        """Checkpoint and end soon."""
        ...

    def epochs(self) -> Iterator[list[TrialEvent]]:
        """Train until all have ended, yielding events or none; between steps the owner may `join` and `interrupt`."""
        ...


def open_group(task: Task | OwnTask, jobs: Sequence[TrialJob], *, worker: str) -> Group:
    """What trains jobs of one fusion key."""
    return open_loop(task, jobs, worker=worker) if isinstance(task, OwnTask) else Cohort(task, jobs, worker=worker)


class ProcessSpentError(Exception):
    """A trial has too little memory here, where ended trials hold it: another process may have enough."""

    def __init__(self, trial: int) -> None:
        super().__init__(trial)
        self.trial = trial


class CohortRunner:
    """Trains groups of jobs of one fusion key; an error in a cohort ends the trial that causes it, not the others.

    An error does not say which member caused it, so the members go on one by one from their checkpoints; out of
    memory, they go on in halves.
    """

    def __init__(
        self,
        task: Task | OwnTask,
        *,
        worker: str,
        too_wide: Callable[[int], None],
        measured: Callable[[Footprint], None] = lambda found: None,
        is_replaceable: bool = False,
    ) -> None:
        """Train for a worker.

        Args:
            task: What is trained.
            worker: Its name, for events.
            too_wide: Told the width of a cohort that ran out of memory.
            measured: Told what trials of the cohort's kind take of a GPU's memory.
            is_replaceable: Whether another process can go on where this one has no memory left.
        """
        self.task = task
        self.worker = worker
        self.members: tuple[TrialJob, ...] = ()
        """The jobs in training while the events that were yielded last came about."""
        self._too_wide = too_wide
        self._measured = measured
        self._is_replaceable = is_replaceable
        self._memory = Memory(task.device)
        self._tried_again: set[str] = set()
        """Folders of trials that ran out of memory by themselves, and began again without what ended ones had left.

        A trial's number would not tell it: finalists have those of trials of the search.
        """
        self._seen: set[str] = set()
        """Folders of all trials that this process has trained."""
        self._cohort: Group | None = None
        self._waiting: list[list[TrialJob]] = []
        self._refused: list[TrialEvent] = []
        """What has not been told yet of jobs that are not worth training."""
        self._interrupted = False

    def join(self, jobs: Sequence[TrialJob]) -> None:
        """Let jobs join the cohort that was begun or queued last, at its next epoch; they share its fusion key."""
        if self._waiting:
            self._waiting[-1] += jobs
        elif self._cohort is not None:
            self._cohort.join(self._feasible(jobs))
        else:
            self.queue(jobs)

    def queue(self, jobs: Sequence[TrialJob]) -> None:
        """Train these as a cohort of their own when the present one has ended."""
        self._waiting.append(list(jobs))

    def interrupt(self) -> None:
        """Checkpoint and end, in mid-epoch where one is long."""
        self._interrupted = True
        if self._cohort is not None:
            self._cohort.interrupt()

    def train(self, jobs: Sequence[TrialJob]) -> Iterator[list[TrialEvent]]:
        """Train jobs and those that join or are queued, yielding the events of each epoch, and none for a slice of one.

        Raises:
            StorageError: the trials' files cannot be written.
            StudyMismatchError: a checkpoint is of another module than the user's is now.
            ProcessSpentError: the trials that have not ended are to go on in another process.
        """
        self._interrupted = False
        self._waiting = [list(jobs)]
        while self._waiting:
            group = self._waiting.pop(0)
            if self._interrupted:
                yield [TrialInterrupted(trial=job.trial) for job in group]
            else:
                yield from self._train(group)
                if isinstance(self.task, OwnTask) and self.task.device.type != "cpu":
                    self._memory.collect()  # what a trial of the user's code has left there is nobody's any more
                else:
                    self._memory.tidy()

    def _feasible(self, jobs: Sequence[TrialJob]) -> list[TrialJob]:
        """The jobs worth training; that the others are not is told with the next events."""
        left = []
        for job in jobs:
            refused = None
            if isinstance(self.task, Task):
                with suppress(Exception):  # what is wrong with a module is said when it is to be trained
                    refused = infeasible(self.task, job)
            if refused is None:
                left.append(job)
            else:
                self._refused.append(refused)
        return left

    def _take_refused(self) -> list[TrialEvent]:
        refused, self._refused = self._refused, []
        return refused

    def _train(self, group: Sequence[TrialJob]) -> Iterator[list[TrialEvent]]:
        group = self._feasible(group)
        if not group:
            yield self._take_refused()
            return
        self._memory.begin()
        cohort = self._cohort = open_group(self.task, group, worker=self.worker)
        try:
            yield from self._epochs(cohort)
            return
        except (StorageError, StudyMismatchError):
            raise  # no fault of the trial's: on a full disk, or with a module that has changed, none can be trained
        except RowsDifferError:
            self._waiting.insert(0, cohort.unfinished)  # how each is trained is decided again
            yield self._take_refused()
            return
        except (Exception, SystemExit) as error:  # a user's module may raise anything
            left = cohort.unfinished
            ended = Ended.by(error, self.task)
            traceback.clear_frames(error.__traceback__)
        finally:
            self._cohort = None
        del cohort  # and with it its tensors, before the next ones are made
        yield [*self._take_refused(), *self._after(ended, left)]

    def _epochs(self, cohort: Group) -> Iterator[list[TrialEvent]]:
        # What a program that rests will take over or leave is not this group's alone.
        epochs, is_measured = cohort.epochs(), isinstance(self.task, OwnTask) or resting_of(self.task).has_program
        began: dict[int, int] = {}
        while True:
            self.members = tuple(cohort.unfinished)
            self._seen.update(job.folder for job in self.members)
            events = next(epochs, None)
            if events is None:
                break
            if not is_measured and _has_trained(events, began):
                is_measured = True
                if (found := self._memory.footprint(len(self.members))) is not None:
                    self._measured(found)
            if not all(isinstance(event, TrialStarted | EpochsFinished) for event in events):
                self._memory.tidy()  # a trial has left, and others may go on to join for hours
            yield [*self._take_refused(), *events]
        if refused := self._take_refused():
            yield refused

    def _after(self, ended: Ended, left: list[TrialJob]) -> list[TrialEvent]:
        size = 1
        if ended.reason is FailureReason.OUT_OF_MEMORY:
            self._too_wide(len(left))
            has_freed = self._memory.collect()
            size = self._fitting(left)
            if len(left) == 1 and self._begins_again(left[0], has_freed=has_freed):
                return []
        elif self.task.device.type == "cuda":
            self._memory.collect()  # what the group held in cycles is not free before
        if len(left) > 1:
            log.warning("a cohort of %d ended with %s; its trials go on %d at a time", len(left), ended.line, size)
            self._waiting = [left[i : i + size] for i in range(0, len(left), size)] + self._waiting
            return []
        return [
            TrialFailed(trial=job.trial, reason=ended.reason, message=ended.message, traceback=ended.story)
            for job in left
        ]

    def _fitting(self, left: Sequence[TrialJob]) -> int:
        """How many of those that ran out of memory together should go on together: half of them, or as few measure."""
        half = -(-len(left) // 2)
        if self.task.device.type != "cuda" or isinstance(self.task, OwnTask) or len(left) < 3:
            return half
        try:
            one, two = (bytes_of(self.task, left[:count]) for count in (1, 2))
        except Exception as error:  # not even that fits, or a module fails, which its own trial will tell
            log.debug("trials could not be measured", exc_info=error)
            traceback.clear_frames(error.__traceback__)
            return half
        finally:
            self._memory.collect()
        if one is None or two is None:
            return half
        each = max(two - one, 1)
        found = Footprint(fixed_bytes=one - each, per_trial_bytes=each, room_bytes=room_bytes(self.task.device))
        if found.most >= len(left):
            return half
        self._measured(found)
        return found.most

    def _begins_again(self, job: TrialJob, *, has_freed: bool) -> bool:
        """Whether a trial that ran out of memory by itself goes on here, since that was not its own fault.

        Raises:
            ProcessSpentError: it is to go on in another process.
        """
        if has_freed and job.folder not in self._tried_again:
            self._tried_again.add(job.folder)
            self._waiting.insert(0, [job])
            return True
        if self._is_replaceable and self._memory.is_worn and self._seen > {job.folder}:
            raise ProcessSpentError(job.trial)
        return False


def _has_trained(events: Sequence[TrialEvent], began: dict[int, int]) -> bool:
    """Whether an epoch is trained and evaluated; `began` collects the epochs that trials have started from."""
    began |= {event.trial: event.from_epoch for event in events if isinstance(event, TrialStarted)}
    finished = [event for event in events if isinstance(event, EpochsFinished)]
    return any(event.results[-1].epoch > began.get(event.trial, 0) for event in finished)
