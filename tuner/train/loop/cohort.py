"""The one training loop: a cohort of trials that advance together, epoch by epoch.

Members may be at different epochs. At each epoch's end those that are done leave and others may join; what a
trial computes does not depend on who else is there. Long epochs are trained in slices (`slices.py`), between which
members are checkpointed and may be interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence

from tuner.errors import UserCodeError
from tuner.records import (
    EpochResult,
    FailureReason,
    Json,
    TrialEvent,
    TrialFailed,
    TrialInterrupted,
    TrialJob,
    TrialStarted,
)
from tuner.train.loop.course import PAUSE
from tuner.train.loop.member import Run
from tuner.train.loop.resting import resting_of
from tuner.train.loop.slices import Pace, Slices
from tuner.train.loop.trade_offs import trade_offs
from tuner.train.program import Program
from tuner.train.task import Measured, Task

CHECKPOINT_SHARE = 0.02
"""Checkpoints between pauses may take this share of the training time."""
MIN_CHECKPOINT_SECONDS = 1.0


class Cohort:
    """Trains jobs that share a fusion key.

    `epochs()` is a generator: each step trains one epoch of every member, or a slice of a long one, and yields the
    events of it, which may be none. Between steps the owner may call `join` and `interrupt`.
    """

    def __init__(self, task: Task, jobs: Sequence[TrialJob], *, worker: str) -> None:
        self.task = task
        self.worker = worker
        self._joining = list(jobs)
        self._runs: list[Run] = []
        self._program: Program | None = None
        self._pace = Pace()
        self._slices: Slices | None = None
        """The epoch under way, until it ends or members leave."""
        self._interrupted = False
        self._last_checkpoint = time.monotonic()
        self._checkpoint_seconds = MIN_CHECKPOINT_SECONDS

    @property
    def width(self) -> int:
        """Members, those about to join included."""
        return len(self._runs) + len(self._joining)

    @property
    def unfinished(self) -> list[TrialJob]:
        """The members' jobs, and those about to join."""
        return [run.job for run in self._runs] + self._joining

    def join(self, jobs: Sequence[TrialJob]) -> None:
        """Let jobs of the same fusion key join at the next epoch."""
        self._joining += jobs

    def interrupt(self) -> None:
        """Checkpoint every member when the present slice of its epoch is trained, and end."""
        self._interrupted = True

    def epochs(self) -> Iterator[list[TrialEvent]]:
        """Train until all members are done."""
        while self._runs or self._joining:
            events: list[TrialEvent] = []
            if self._joining and not self._interrupted and not any(run.step for run in self._runs):
                events += self._admit()
            if self._interrupted:
                yield [*events, *self._leave_interrupted()]
                return
            if self._runs:
                events += self._train()
            yield events

    @property
    def _running(self) -> Program:
        assert self._program is not None
        return self._program

    # Joining and leaving

    def _admit(self) -> list[TrialEvent]:
        joining = [Run.of(job, self.task) for job in self._joining]
        first = len(self._runs)
        self._resize(range(first), joining)
        self._joining = []
        events: list[TrialEvent] = []
        for row, run in enumerate(joining, start=first):
            run.resume(self._running, row)
            events.append(
                TrialStarted(
                    trial=run.job.trial,
                    worker=self.worker,
                    device=self.task.device_name,
                    path=self._running.path(row),
                    cohort_width=len(self._runs),
                    from_epoch=run.epoch,
                    from_step=run.step,
                    anew=run.began_anew or (run.is_fresh and self.task.found_out(self._running, row)),
                    num_parameters=self.task.num_parameters(run.member),
                    code=self.task.code,
                )
            )
            if run.curve:
                # The coordinator may have seen fewer of these epochs than the checkpoint holds.
                events.append(run.told(run.curve))
        # A job may ask for no more than its checkpoint already holds.
        done = [row for row, run in enumerate(self._runs) if row >= first and run.end is not None]
        return events + self._leave(done)

    def _resize(self, keep: Sequence[int], joining: list[Run]) -> None:
        kept = [self._runs[row] for row in keep]
        runs = [*kept, *joining]
        members = [run.member for run in joining]
        if not runs:
            self._program = None
        elif self._program is None:
            self._program = resting_of(self.task).program(members) or self.task.program(members)
        else:
            self._program = self._program.resized(list(keep), members)
        self._pace, self._slices = Pace(), None
        self._runs = runs  # last: building a user's module may raise, and the jobs are then still those joining

    def _leave(self, done: Sequence[int], failed: Sequence[int] = ()) -> list[TrialEvent]:
        """End the jobs of the rows that are done, and go on without these and those that failed."""
        events = self._end_jobs(done)
        gone = {*done, *failed}
        if gone and all(run.end == PAUSE and run.job.stays for run in self._runs):
            resting_of(self.task).leave(self._running)
        if gone:
            self._resize([row for row in range(len(self._runs)) if row not in gone], [])
        return events

    def _end_jobs(self, rows: Sequence[int]) -> list[TrialEvent]:
        if not rows:
            return []
        program = self._running
        signals = self.task.signals(program)
        events: list[TrialEvent] = []
        for row in rows:
            run = self._runs[row]
            facts: dict[str, Json] = {"path": program.path(row)}
            if (why := program.reason(row)) is not None:
                facts["not_fused"] = why
            for name, layers in signals.items():
                if run.has_trained or name != "gradient_norms":
                    own = {layer: values[row] for layer, values in layers.items()}
                    facts[name] = {layer: value for layer, value in own.items() if not math.isnan(value)}
            if not run.look_at_state(program, row):
                facts["unsaved"] = run.unsaved
            facts |= trade_offs(self.task, run)
            # Of a finished trial too, and before all else: whoever has stored that it ended removes its checkpoint,
            # and until then it says that all is trained.
            if not run.rests(program, row):
                run.write_checkpoint(program, row)
                run.write_curve()
            if run.end != PAUSE:
                facts |= run.write_best(program, row)
            events.append(run.ended(facts))
        return events

    def _leave_interrupted(self) -> list[TrialEvent]:
        events: list[TrialEvent] = []
        for row, run in enumerate(self._runs):
            run.write_checkpoint(self._running, row)
            run.write_curve()
            events.append(TrialInterrupted(trial=run.job.trial))
        events += [TrialInterrupted(trial=job.trial) for job in self._joining]
        self._runs, self._joining, self._program = [], [], None
        return events

    # One epoch

    def _train(self) -> list[TrialEvent]:
        """Train a slice of the members' epochs, and measure what they have become at its end."""
        if self._slices is None:
            self._slices = Slices(self.task, self._runs, self._running, self._pace)
        self._slices.train()
        events = self._end_epoch(self._slices) if self._slices.done else self._end_late()
        self._checkpoint_at_times()
        return events

    def _end_late(self) -> list[TrialEvent]:
        """In mid-epoch, end those that have trained for too long."""
        late = {row: problem for row, run in enumerate(self._runs) if (problem := run.overtime)}
        events: list[TrialEvent] = [_failed(self._runs[row], FailureReason.TIMEOUT, late[row]) for row in late]
        return events + self._leave([], list(late))

    def _end_epoch(self, slices: Slices) -> list[TrialEvent]:
        self._slices = None
        program, plan = self._running, slices.plan
        began = time.perf_counter()
        scores = self.task.evaluate(program)
        seconds = (time.perf_counter() - began) / len(self._runs)
        events: list[TrialEvent] = []
        improved, failed, done = [], [], []
        for row, run in enumerate(self._runs):
            rate = float(plan.learning_rate_SK[-1, row * len(plan.order_KN) // len(self._runs)])
            result = _result_of(run, row, scores, rate=rate, seconds=seconds)
            if problem := self.task.divergence(result):
                failed.append(row)
                events.append(_failed(run, FailureReason.DIVERGED, f"{problem} in epoch {result.epoch}"))
                continue
            if run.add(result, scores.dev_outputs[row]):
                improved.append(row)
            events.append(run.told([result]))
            if late := run.overtime:
                failed.append(row)
                events.append(_failed(run, FailureReason.TIMEOUT, late))
            elif run.end is not None and (run.end != PAUSE or run.look_at_state(program, row)):
                done.append(row)
        if improved:
            program.save_best(improved)
        events += self._leave(done, failed)
        self._take_new_values()
        return events

    def _take_new_values(self) -> None:
        """Let members whose next epoch has other values go on with these, from the states that they have."""
        changing = [row for row, run in enumerate(self._runs) if run.is_at_new_values]
        if not changing:
            return
        before, runs = self._running, [self._runs[row] for row in changing]
        states = [(before.state_format(row), before.state(row)) for row in changing]
        for run in runs:
            run.take_new_values()
        self._resize([row for row in range(len(self._runs)) if row not in changing], runs)
        for row, (state_format, state) in enumerate(states, start=len(self._runs) - len(runs)):
            if self._running.state_format(row) != state_format:
                name = self._runs[row].job.shown
                raise UserCodeError(f"{name}: with the values of its next epoch it has to be trained in another way")
            self._running.load_state(row, state)

    def _checkpoint_at_times(self) -> None:
        """Checkpoint all members now and then, so rarely that it costs little."""
        if time.monotonic() - self._last_checkpoint < self._checkpoint_seconds:
            return
        began = time.monotonic()
        for row, run in enumerate(self._runs):
            run.write_checkpoint(self._running, row)
        self._last_checkpoint = time.monotonic()
        cost = self._last_checkpoint - began
        self._checkpoint_seconds = max(MIN_CHECKPOINT_SECONDS, cost / CHECKPOINT_SHARE)


def _result_of(run: Run, row: int, scores: Measured, *, rate: float, seconds: float) -> EpochResult:
    """A member's epoch. `seconds`: its share of the time that the evaluation took."""
    return EpochResult(
        epoch=run.epoch + 1,
        train_loss=scores.train_loss[row],
        dev_loss=scores.dev_loss[row],
        train_metric=scores.train_metric[row],
        dev_metric=scores.dev_metric[row],
        learning_rate=rate,
        seconds=run.seconds + seconds,
    )


def _failed(run: Run, reason: FailureReason, message: str) -> TrialFailed:
    run.write_curve()
    return TrialFailed(trial=run.job.trial, reason=reason, message=message)
