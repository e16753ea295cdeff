"""The one training loop: a cohort of trials that advance together, epoch by epoch.

Members may be at different epochs. At each epoch's end those that are done leave and others may join; what a
trial computes does not depend on who else is there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tuner.faults import fault_point
from tuner.models.keyed import batch_order
from tuner.paths import TrialPaths
from tuner.records import (
    EpochResult,
    EpochsFinished,
    FailureReason,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialInterrupted,
    TrialJob,
    TrialPaused,
    TrialStarted,
)
from tuner.train.artefacts import write_curve, write_predictions, write_weights
from tuner.train.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from tuner.train.early_stopping import Patience
from tuner.train.program import EpochPlan, Member, Program
from tuner.train.schedule import learning_rates
from tuner.train.task import Task

log = logging.getLogger(__name__)

CHECKPOINT_SHARE = 0.02
"""Checkpoints between pauses may take this share of the training time."""
MIN_CHECKPOINT_SECONDS = 1.0


@dataclass(slots=True)
class Run:
    """One member: a job, and where its training stands."""

    job: TrialJob
    member: Member
    curve: list[EpochResult] = field(default_factory=list)
    best: EpochResult | None = None
    best_outputs: Tensor | None = None
    """Dev outputs of the best epoch, shape (dev examples, outputs); None if that lies before a resume."""
    patience: Patience = field(default_factory=Patience)
    resumed: Checkpoint | None = None

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.curve)

    def resume(self, program: Program, row: int, best: EpochResult | None) -> None:
        """Go on from the checkpoint that was found."""
        assert self.resumed is not None
        found, self.resumed = self.resumed, None
        if found.state_format != program.state_format:
            log.warning("trial %d starts anew: its checkpoint is of another way to train", self.job.trial)
            return
        program.load_state(row, found.state)
        self.curve, self.patience = list(found.curve), found.patience
        self.best = best

    @property
    def paths(self) -> TrialPaths:
        return TrialPaths(Path(self.job.folder))


class Cohort:
    """Trains jobs that share a fusion key.

    `epochs()` is a generator: each step trains one epoch of every member and yields the events of it. Between
    steps the owner may call `join` and `interrupt`.
    """

    def __init__(self, task: Task, jobs: Sequence[TrialJob], *, worker: str) -> None:
        self.task = task
        self.worker = worker
        self._joining = list(jobs)
        self._runs: list[Run] = []
        self._program: Program | None = None
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
        """Checkpoint every member at the next epoch's end, and end."""
        self._interrupted = True

    def epochs(self) -> Iterator[list[TrialEvent]]:
        """Train until all members are done."""
        while self._runs or self._joining:
            events: list[TrialEvent] = []
            if self._joining and not self._interrupted:
                events += self._admit()
            if self._interrupted:
                yield [*events, *self._leave_interrupted()]
                return
            if self._runs:
                events += self._epoch()
            yield events

    # Joining and leaving

    def _admit(self) -> list[TrialEvent]:
        jobs = self._joining
        events: list[TrialEvent] = []
        joining: list[Run] = []
        for job in jobs:
            run = Run(job, self.task.member(job))
            found = read_checkpoint(run.paths)
            if found is not None and found.seed == job.seed and dict(found.params) == dict(job.params):
                run.resumed = found
            joining.append(run)
        self._resize(range(len(self._runs)), joining)
        self._joining = []
        program = self._program
        assert program is not None
        for row, run in enumerate(self._runs):
            if run.resumed is not None:
                run.resume(program, row, self.task.best_of(run.resumed.curve))
        for run in joining:
            events.append(
                TrialStarted(
                    trial=run.job.trial, worker=self.worker, device=str(self.task.device), path=program.path,
                    cohort_width=len(self._runs), from_epoch=run.epoch,
                    num_parameters=self.task.num_parameters(run.member),
                )
            )  # fmt: skip
            if run.curve:
                # The coordinator may have seen fewer of these epochs than the checkpoint holds.
                events.append(EpochsFinished(trial=run.job.trial, results=tuple(run.curve)))
        # A job may ask for no more than its checkpoint already holds.
        done = [row for row, run in enumerate(self._runs) if run in joining and self._end_of(run) is not None]
        return events + self._leave(done)

    def _resize(self, keep: Sequence[int], joining: list[Run]) -> None:
        kept = [self._runs[row] for row in keep]
        runs = [*kept, *joining]
        members = [run.member for run in joining]
        if not runs:
            self._program = None
        elif self._program is None:
            self._program = self.task.program(members)
        else:
            self._program = self._program.resized(list(keep), members)
        self._runs = runs  # last: building a user's module may raise, and the jobs are then still those joining

    def _leave(self, rows: Sequence[int]) -> list[TrialEvent]:
        """End the jobs of these rows and compact the rest."""
        if not rows:
            return []
        events: list[TrialEvent] = []
        for row in rows:
            events += self._end_job(row)
        gone = set(rows)
        self._resize([row for row in range(len(self._runs)) if row not in gone], [])
        return events

    def _end_of(self, run: Run) -> str | None:
        """Why a run ends here: the reason of `TrialFinished`, `pause`, or None to go on."""
        if run.patience.exhausted(self.task.spec.training.early_stopping):
            return f"early stopping at epoch {run.epoch}"
        if run.epoch >= run.member.settings.epochs:
            return "all epochs"
        return "pause" if run.epoch >= run.job.to_epoch else None

    def _end_job(self, row: int) -> list[TrialEvent]:
        run = self._runs[row]
        reason = self._end_of(run)
        assert reason is not None
        facts = self._facts(row)
        write_curve(run.paths, run.curve)
        if reason == "pause":
            self._checkpoint(row)
            return [TrialPaused(trial=run.job.trial, epoch=run.epoch, facts=facts)]
        self._write_best(row)
        fault_point("weights_written")
        # Whoever has stored that the trial ended removes its checkpoint; until then it says that all is trained.
        self._checkpoint(row)
        return [TrialFinished(trial=run.job.trial, reason=reason, facts=facts)]

    def _leave_interrupted(self) -> list[TrialEvent]:
        events: list[TrialEvent] = []
        for row, run in enumerate(self._runs):
            write_curve(run.paths, run.curve)
            self._checkpoint(row)
            events.append(TrialInterrupted(trial=run.job.trial, epoch=run.epoch))
        for job in self._joining:
            events.append(TrialInterrupted(trial=job.trial, epoch=0))
        self._runs, self._joining, self._program = [], [], None
        return events

    # One epoch

    def _epoch(self) -> list[TrialEvent]:
        program = self._program
        assert program is not None
        began = time.perf_counter()
        plan = self._plan()
        program.train_steps(plan, 0, len(plan.step_SK))
        scores = self.task.evaluate(program)
        seconds = (time.perf_counter() - began) / len(self._runs)
        events: list[TrialEvent] = []
        improved, failed, done = [], [], []
        for row, run in enumerate(self._runs):
            result = EpochResult(
                epoch=run.epoch + 1,
                train_loss=scores.train_loss[row],
                dev_loss=scores.dev_loss[row],
                train_metric=scores.train_metric[row],
                dev_metric=scores.dev_metric[row],
                learning_rate=float(plan.learning_rate_SK[-1, row]),
                seconds=(run.curve[-1].seconds if run.curve else 0.0) + seconds,
            )
            if problem := self.task.divergence(result):
                failed.append(row)
                events.append(self._diverged(run, result, problem))
                continue
            run.curve.append(result)
            run.patience = run.patience.after(
                result.dev_metric, direction=self.task.direction, min_delta=self.task.min_delta
            )
            if run.best is None or self.task.direction.better(result.dev_metric, run.best.dev_metric):
                run.best = result
                run.best_outputs = scores.dev_outputs[row].clone()
                improved.append(row)
            events.append(EpochsFinished(trial=run.job.trial, results=(result,)))
            if late := self._out_of_time(run):
                failed.append(row)
                events.append(late)
            elif self._end_of(run) is not None:
                done.append(row)
        if improved:
            program.save_best(improved)
        for row in done:
            events += self._end_job(row)
        gone = {*failed, *done}
        if gone:
            self._resize([row for row in range(len(self._runs)) if row not in gone], [])
        self._checkpoint_at_times()
        return events

    def _plan(self) -> EpochPlan:
        num_train = len(self.task.data.train)
        batch_size = self._runs[0].member.settings.batch_size
        steps = -(-num_train // batch_size)
        rates = [learning_rates(r.member.settings, epoch=r.epoch, steps_per_epoch=steps) for r in self._runs]
        numbers = np.arange(steps)[:, None] + np.array([r.epoch * steps for r in self._runs])
        orders = [batch_order(r.job.seed, r.epoch, num_train) for r in self._runs]
        return EpochPlan(
            order_KN=torch.stack(orders).to(self.task.device),
            learning_rate_SK=np.stack(rates, axis=1),
            step_SK=numbers,
        )

    def _diverged(self, run: Run, result: EpochResult, problem: str) -> TrialFailed:
        if run.curve:
            write_curve(run.paths, run.curve)
        return TrialFailed(
            trial=run.job.trial, reason=FailureReason.DIVERGED, message=f"{problem} in epoch {result.epoch}"
        )

    def _out_of_time(self, run: Run) -> TrialFailed | None:
        """The end of a trial that has trained for too long and is not done."""
        limit = self.task.spec.limits.trial_seconds
        seconds = run.curve[-1].seconds
        if limit is None or seconds <= limit or self._end_of(run) not in (None, "pause"):
            return None
        write_curve(run.paths, run.curve)
        return TrialFailed(
            trial=run.job.trial,
            reason=FailureReason.TIMEOUT,
            message=f"it trained for {seconds:.1f} s and {run.epoch} epochs; limits.trial_seconds is {limit:g}",
        )

    def _facts(self, row: int) -> dict[str, object]:
        program = self._program
        assert program is not None
        norms = {name: float(values[row]) for name, values in program.gradient_norms().items()}
        return {"gradient_norms": norms, "path": program.path}

    # Files

    def _checkpoint(self, row: int) -> None:
        run, program = self._runs[row], self._program
        assert program is not None
        write_checkpoint(
            run.paths,
            Checkpoint(
                state=program.state(row), state_format=program.state_format, curve=tuple(run.curve), patience=run.patience,
                params=run.job.params, seed=run.job.seed,
            ),
        )  # fmt: skip

    def _checkpoint_at_times(self) -> None:
        """Checkpoint all members now and then, so rarely that it costs little."""
        if time.monotonic() - self._last_checkpoint < self._checkpoint_seconds:
            return
        began = time.monotonic()
        for row in range(len(self._runs)):
            self._checkpoint(row)
        self._last_checkpoint = time.monotonic()
        cost = self._last_checkpoint - began
        self._checkpoint_seconds = max(MIN_CHECKPOINT_SECONDS, cost / CHECKPOINT_SHARE)

    def _write_best(self, row: int) -> None:
        run, program = self._runs[row], self._program
        assert program is not None
        weights = program.best_weights(row)
        write_weights(run.paths, weights)
        outputs = run.best_outputs
        if outputs is None:
            outputs = self.task.dev_outputs(run.member, weights)
        write_predictions(run.paths, self.task.predictions(outputs))
