"""The loop around the user's own training code: one trial after the other, told as the same events as a cohort's."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Generator, Sequence
from typing import Literal, Protocol

from tuner.records import (
    SPENT_SECONDS,
    Direction,
    EpochResult,
    FailureReason,
    Json,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialInterrupted,
    TrialJob,
    TrialStarted,
)
from tuner.train.loop.course import PAUSE
from tuner.train.own.course import OwnCourse
from tuner.train.own.kept import Offer
from tuner.train.own.reports import Report, ReportError
from tuner.train.own.task import OwnTask

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.05
BEGAN_ANEW = "began anew"
"""The kind of warning that code does not go on from its checkpoint folder."""
Why = Literal["paused", "trained", "interrupted"]
"""Why the user's code should end: it is where it was sent, its trial is trained, or the whole sweep stops."""
_Events = Generator[list[TrialEvent], None, list[TrialEvent]]
"""Yields events as they come, and returns those of the end."""


class Session(Protocol):
    """The user's code at work on one trial."""

    can_be_killed: bool
    """Whether `close` ends it wherever it is; if not, only the worker's end does."""

    def poll(self, timeout_seconds: float) -> list[Report]:
        """What was reported since the last call; waits up to the timeout for the first.

        Raises:
            ReportError: a report cannot be used.
            Exception: whatever the user's function raised.
        """
        ...

    @property
    def ended(self) -> bool:
        """Whether it has ended, and all that it reported was polled."""
        ...

    def ask_to_stop(self, why: Why) -> None:
        """Have it end soon, with a chance to write a checkpoint."""
        ...

    def failure(self) -> tuple[FailureReason, str, bool] | None:
        """What went wrong with one that ended by itself: reason, words, whether the cause lies outside the trial."""
        ...

    def close(self) -> None:
        """End it now, and all that it started."""
        ...

    @property
    def outlasts_pause(self) -> Lasting | None:
        """Itself, if it was asked to pause and trains on all the same."""
        ...

    @property
    def num_bytes(self) -> int:
        """Memory that it holds in other processes than this one."""
        ...


class Lasting(Session, Protocol):
    """A session that may be stopped wherever it is, and go on from there."""

    def stop(self) -> None:
        """Stop it."""
        ...

    def go_on(self, course: OwnCourse) -> None:
        """Let it train on; it may have been stopped."""
        ...


class OwnLoop:
    """See `tuner.execute.runner.Group`: trains jobs by the user's code, in turn."""

    def __init__(
        self, task: OwnTask, jobs: Sequence[TrialJob], *, worker: str, start: Callable[[OwnCourse], Session]
    ) -> None:
        self.task = task
        self.worker = worker
        self._start = start
        self._jobs = list(jobs)
        self._session: Session | None = None
        self._interrupted = False

    @property
    def unfinished(self) -> list[TrialJob]:
        """The job in training, and those that wait for it."""
        return list(self._jobs)

    @property
    def num_bytes(self) -> int:
        """Memory that the user's code holds in processes of its own."""
        return 0 if self._session is None else self._session.num_bytes

    def join(self, jobs: Sequence[TrialJob]) -> None:
        """Train these as well, behind the others."""
        self._jobs += jobs

    def interrupt(self) -> None:
        """Ask the user's code to end."""
        self._interrupted = True

    def epochs(self) -> Generator[list[TrialEvent], None, None]:
        """Train until all jobs have ended; yields often, so that the owner can call `interrupt`."""
        while self._jobs:
            job = self._jobs[0]
            if self._interrupted:
                events: list[TrialEvent] = [TrialInterrupted(trial=job.trial)]
            else:
                events = yield from self._advance(OwnCourse.of(job, self.task))
            self._jobs.pop(0)
            yield events

    def _advance(self, course: OwnCourse) -> _Events:
        """Train one trial; returns the events of its end."""
        known, path = tuple(course.curve), self.task.path
        events: list[TrialEvent] = [
            TrialStarted(
                trial=course.job.trial, worker=self.worker, device=self.task.device_name, path=path,
                cohort_width=1, from_epoch=len(known), num_parameters=0,
                code=self.task.code_now,
            )
        ]  # fmt: skip
        if known:
            events.append(course.told(known))
        yield events
        if course.end is not None:
            if course.end != PAUSE:
                self.task.kept.drop(course.job.folder)
            return [course.ended(self._facts())]
        if course.is_given_up:
            reason = f"ended for good at epoch {course.epoch}: there was no memory to keep its process stopped"
            return [TrialFinished(trial=course.job.trial, reason=reason, facts=self._facts())]
        stopped: Lasting | None = self.task.kept.take(course.job.folder)
        if stopped is not None:
            stopped.go_on(course)
        session, epoch = stopped or self._start(course), course.epoch
        try:
            end = yield from self._watch(course, session)
            ends_by_itself = isinstance(end[0], TrialFinished) and course.end is None
            if stopped is not None and ends_by_itself and course.epoch == epoch and course.can_resume:
                session.close()  # it knew of its pause, and was stopped before it had come to its end there
                session = self._start(course)
                end = yield from self._watch(course, session)
        except BaseException:
            session.close()
            raise
        if not self.task.kept.has(course.job.folder):
            session.close()
        return end

    def _watch(self, course: OwnCourse, session: Session) -> _Events:
        is_asked, self._session = False, session
        while not session.ended:
            if (lasting := session.outlasts_pause) is not None:
                if self._is_left(course, lasting):
                    return [course.ended(self._facts())]
                is_asked = False
                yield _told(course, course.train_to_end())
            if not is_asked and (self._interrupted or course.end is not None):
                session.ask_to_stop(_why(course.end))
                is_asked = True
            try:
                results = [result for report in session.poll(_POLL_SECONDS) for result in course.add(report)]
            except ReportError as error:
                story = "".join(traceback.format_exception(error)) if self.task.path == "trainer" else ""
                return [_failed(course, FailureReason.ERROR, str(error), story)]
            if course.began_anew:
                self._warn_of_new_beginning(course)
            yield _told(course, results)
            if problem := course.divergence:
                return [_failed(course, FailureReason.DIVERGED, problem)]
            if (results or session.can_be_killed) and course.end is None and (late := course.overtime):
                return [_failed(course, FailureReason.TIMEOUT, late)]
        return [self._after(course, session)]

    def _is_left(self, course: OwnCourse, session: Lasting) -> bool:
        """Whether a program that trains on at a pause is stopped, or ended; if not, it goes on to its trial's end."""
        assert course.kept is not None
        sign = -1.0 if self.task.direction is Direction.MAXIMIZE else 1.0
        offer = Offer(course.job.folder, session, sign * course.kept.dev_metric, course.give_up)
        if self.task.kept.keep(offer) or course.can_resume:
            return True
        self.task.warn_once(
            "goes on",
            f"{course.job.shown} trains to its end where the search would have paused it: there is no memory to keep "
            f"its process stopped, and begun again it would train its epochs twice",
        )
        session.go_on(course)
        return False

    def _warn_of_new_beginning(self, course: OwnCourse) -> None:
        is_kept = self.task.path == "command"
        cause = ", and its process was ended with the run or the worker that kept it" if is_kept else ""
        cost = "" if is_kept else ", so each pause costs its epochs again; `search.pruner: none` never pauses"
        self.task.warn_once(
            BEGAN_ANEW,
            f"{course.job.shown} began again at epoch 1: your {self.task.path} does not go on from its "
            f"checkpoint folder{cause}{cost}",
        )

    def _after(self, course: OwnCourse, session: Session) -> TrialEvent:
        """How the trial stands when the user's code has ended."""
        if course.end is not None:
            return course.ended(self._facts())
        if self._interrupted:
            return TrialInterrupted(trial=course.job.trial)
        failure = session.failure()
        if failure is not None:
            reason, message, from_outside = failure
            return _failed(course, reason, message, retryable=from_outside)
        if course.counts_from_zero:
            return _failed(course, FailureReason.NO_REPORT, self.task.miscount)
        if not course.epoch:
            return _failed(course, FailureReason.NO_REPORT, self.task.silence)
        if course.before is not None and course.epoch == course.job.to_epoch - 1:
            self.task.warn_once("counts from zero", f"{course.job.shown}: {self.task.miscount}")
        reason_text = f"the {self.task.path} ended by itself after epoch {course.epoch}"
        return TrialFinished(trial=course.job.trial, reason=reason_text, facts=self._facts())

    def _facts(self) -> dict[str, Json]:
        return {"path": self.task.path}


def _why(end: str | None) -> Why:
    return "interrupted" if end is None else "paused" if end == PAUSE else "trained"


def _told(course: OwnCourse, results: Sequence[EpochResult]) -> list[TrialEvent]:
    return [course.told(results)] if results else []


def _failed(
    course: OwnCourse, reason: FailureReason, message: str, story: str = "", *, retryable: bool = False
) -> TrialEvent:
    facts = {SPENT_SECONDS: round(course.seconds, 3)}
    return TrialFailed(
        trial=course.job.trial, reason=reason, message=message, traceback=story, retryable=retryable, facts=facts
    )
