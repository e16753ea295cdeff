"""The one training loop: a cohort of trials that advance together, epoch by epoch.

Members may be at different epochs. At each epoch's end those that are done leave and others may join; what a
trial computes does not depend on who else is there. Long epochs are trained in slices (`slices.py`), between which
members are checkpointed and may be interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from tuner.errors import UserCodeError
from tuner.records import (
    FailureReason,
    Json,
    TrialEvent,
    TrialInterrupted,
    TrialJob,
    TrialStarted,
)
from tuner.train.loop.course import PAUSE
from tuner.train.loop.member import Run
from tuner.train.loop.resting import resting_of
from tuner.train.loop.results import failure, results_of, take_in
from tuner.train.loop.slices import Pace, Slices
from tuner.train.loop.stretch import stretch_of
from tuner.train.loop.trade_offs import trade_offs
from tuner.train.program import EpochPlan, Program
from tuner.train.task import Measured, Task

CHECKPOINT_SHARE = 0.02
"""Checkpoints between pauses may take this share of the training time."""
MIN_CHECKPOINT_SECONDS = 1.0


class Cohort:
    """Trains jobs that share a fusion key.

    `epochs()` is a generator: each step trains an epoch of every member, a slice of a long one or several short ones,
    and yields the events of it, which may be none. Between steps the owner may call `join` and `interrupt`.
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
        self._began = 0.0
        """When it was begun, or the epochs that were trained in one go."""
        self._epoch_seconds: float | None = None
        """How long an epoch of the present members took."""
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
                self._checkpoint_at_times()
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
        self._pace, self._slices, self._epoch_seconds = Pace(), None, None
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

    # Epochs

    def _train(self) -> list[TrialEvent]:
        """Train a slice of the members' epochs, or some of these, and measure what they have become at each end."""
        if self._slices is None:
            self._began = time.perf_counter()
            stretch = stretch_of(self.task, self._runs, self._running, epoch_seconds=self._epoch_seconds)
            if stretch is not None:
                return self._end_epochs(stretch.plan, stretch.train(), stretch.save_best, began=self._began)
            self._slices = Slices(self.task, self._runs, self._running, self._pace)
        self._slices.train()
        return self._end_epoch(self._slices) if self._slices.done else self._end_late()

    def _end_late(self) -> list[TrialEvent]:
        """In mid-epoch, end those that have trained for too long."""
        late = {row: problem for row, run in enumerate(self._runs) if (problem := run.overtime)}
        events: list[TrialEvent] = [failure(self._runs[row], FailureReason.TIMEOUT, late[row]) for row in late]
        return events + self._leave([], list(late))

    def _end_epoch(self, slices: Slices) -> list[TrialEvent]:
        self._slices = None
        program, began = self._running, time.perf_counter()
        measured = [self.task.evaluate(program)]
        return self._end_epochs(slices.plan, measured, lambda kept: program.save_best([*kept]), began=began)

    def _end_epochs(
        self,
        plan: EpochPlan,
        measured: Sequence[Measured],
        save_best: Callable[[Mapping[int, int]], None],
        *,
        began: float,
    ) -> list[TrialEvent]:
        """Take in what epochs have come to.

        Args:
            plan: Theirs.
            measured: After each of them.
            save_best: Saves what rows were after these epochs as their best.
            began: The moment from which on seconds count for the members.
        """
        now, num_runs = time.perf_counter(), len(self._runs)
        self._epoch_seconds = (now - self._began) / len(measured)
        events: list[TrialEvent] = []
        kept: dict[int, int] = {}
        failed, done = [], []
        for row, run in enumerate(self._runs):
            own = [scores.of(row) for scores in measured]
            results = results_of(run, own, plan.rates(row * len(plan.order_KN) // num_runs), (now - began) / num_runs)
            taken = take_in(run, results)
            events += taken.events
            if taken.kept is not None:
                kept[row] = taken.kept
                run.kept_outputs = measured[taken.kept].dev_outputs[row].clone()
            if taken.has_failed:
                failed.append(row)
            elif run.end is not None and (run.end != PAUSE or run.look_at_state(self._running, row)):
                done.append(row)
        if kept:
            save_best(kept)
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
