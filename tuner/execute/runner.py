"""Running a cohort to its end in this process, whatever its members do."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator, Sequence

import torch

from tuner.records import FailureReason, TrialEvent, TrialFailed, TrialInterrupted, TrialJob
from tuner.train.cohort import Cohort
from tuner.train.task import Task

log = logging.getLogger(__name__)


class CohortRunner:
    """Trains groups of jobs of one fusion key; an error in a cohort ends the trial that causes it, not the others.

    An error does not say which member caused it, so the members go on one by one from their checkpoints; out of
    memory, they go on in halves.
    """

    def __init__(self, task: Task, *, worker: str) -> None:
        self.task = task
        self.worker = worker
        self._cohort: Cohort | None = None
        self._waiting: list[list[TrialJob]] = []
        self._interrupted = False

    def join(self, jobs: Sequence[TrialJob]) -> None:
        """Let jobs of the same fusion key join at the next epoch."""
        if self._cohort is None:
            self.queue(jobs)
        else:
            self._cohort.join(jobs)

    def queue(self, jobs: Sequence[TrialJob]) -> None:
        """Train these as a cohort of their own when the present one has ended."""
        self._waiting.append(list(jobs))

    def interrupt(self) -> None:
        """Checkpoint and end at the next epoch's end."""
        self._interrupted = True
        if self._cohort is not None:
            self._cohort.interrupt()

    def train(self, jobs: Sequence[TrialJob]) -> Iterator[list[TrialEvent]]:
        """Train jobs and those that join, yielding each epoch's events."""
        self._interrupted = False
        self._waiting = [list(jobs)]
        while self._waiting:
            group = self._waiting.pop(0)
            if self._interrupted:
                yield [TrialInterrupted(trial=job.trial, epoch=0) for job in group]
                continue
            self._cohort = Cohort(self.task, group, worker=self.worker)
            try:
                yield from self._cohort.epochs()
            except (Exception, SystemExit) as error:  # a user's module may raise anything
                yield self._after(error, self._cohort.unfinished)
            self._cohort = None

    def _after(self, error: BaseException, left: list[TrialJob]) -> list[TrialEvent]:
        out_of_memory = _is_out_of_memory(error)
        if out_of_memory and self.task.device.type == "cuda":
            torch.cuda.empty_cache()
        if len(left) > 1:
            size = -(-len(left) // 2) if out_of_memory else 1
            log.warning("a cohort of %d ended with %s; its trials go on %d at a time", len(left), _line(error), size)
            self._waiting = [left[i : i + size] for i in range(0, len(left), size)] + self._waiting
            return []
        match error:
            case SystemExit():
                reason = FailureReason.EXITED
            case _ if out_of_memory:
                reason = FailureReason.OUT_OF_MEMORY
            case _:
                reason = FailureReason.ERROR
        text = "".join(traceback.format_exception(error))
        return [TrialFailed(trial=job.trial, reason=reason, message=_line(error), traceback=text) for job in left]


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _line(error: BaseException) -> str:
    """The error in one line."""
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code})"
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
