"""An epoch in slices of about a second, between which a long one can be interrupted and checkpointed.

Members that go on in the middle of an epoch may be at different steps of it. Those furthest behind then train by
themselves, until they have come to where the next ones are.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch

from tuner.records import TrialJob
from tuner.train.device.gpus import stacked_on, wait_for
from tuner.train.loop.member import Run
from tuner.train.loop.schedule import learning_rates
from tuner.train.program import EpochPlan, Program, num_steps
from tuner.train.task import Task

SLICE_SECONDS = 1.0
"""How long a slice should take; an epoch that takes no longer is a single one."""


class Pace:
    """How many steps of one program fit into a slice, found out as it trains: one at first, then more and more."""

    def __init__(self) -> None:
        self._num_steps = 1

    def train(self, program: Program, plan: EpochPlan, first: int, last: int) -> int:
        """Train a slice of the steps from `first` up to, not including, `last`; the step that comes next."""
        began = now = time.perf_counter()
        while True:
            end = last if program.whole_epochs else min(last, first + self._num_steps)
            program.train_steps(plan, first, end)
            if end < last:
                wait_for(plan.order_KN.device)
            before, now = now, time.perf_counter()
            fitting = int((end - first) * SLICE_SECONDS / max(now - before, 1e-9))
            self._num_steps = max(1, min(2 * self._num_steps, fitting))
            first = end
            if first >= last or now - began >= SLICE_SECONDS / 2:
                return first


class Slices:
    """One epoch of all members of a cohort."""

    def __init__(self, task: Task, runs: Sequence[Run], program: Program, pace: Pace) -> None:
        """Begin, or go on, where the members are.

        Args:
            task: Of the cohort.
            runs: The members, each at a step of its epoch.
            program: Trains them; it has their states.
            pace: Of the program.
        """
        began = time.perf_counter()
        self.task = task
        self.plan = epoch_plan(task, runs)
        self._runs = runs
        self._program = program
        self._pace = pace
        self._apart: _Apart | None = None
        self._share(time.perf_counter() - began, range(len(runs)))

    @property
    def done(self) -> bool:
        """Whether all steps are done."""
        return all(run.step >= len(self.plan.step_SK) for run in self._runs)

    def train(self) -> None:
        """Train a slice: of all members, or of those that are furthest behind."""
        began = time.perf_counter()
        first = min(run.step for run in self._runs)
        rows = [row for row, run in enumerate(self._runs) if run.step == first]
        if len(rows) == len(self._runs):
            reached = self._pace.train(self._program, self.plan, first, len(self.plan.step_SK))
        else:
            reached = self._train_apart(rows, first, min(run.step for run in self._runs if run.step > first))
        for row in rows:
            self._runs[row].step = reached
        self._share(time.perf_counter() - began, rows)

    def _share(self, seconds: float, rows: Sequence[int]) -> None:
        for row in rows:
            self._runs[row].epoch_seconds += seconds / len(rows)

    def _train_apart(self, rows: list[int], first: int, last: int) -> int:
        """Train some rows by a program of their own, and give the cohort's program their new states."""
        if self._apart is None or self._apart.rows != rows:
            self._apart = None  # not two of them at a time
            self._apart = _Apart(self.task, self._runs, self._program, rows)
        reached = self._apart.train(first, last)
        if reached == last:
            self._apart = None
        return reached


class _Apart:
    """Some members of a cohort in a program of their own."""

    def __init__(self, task: Task, runs: Sequence[Run], program: Program, rows: list[int]) -> None:
        self.rows = rows
        self._whole = program
        own = [runs[row] for row in rows]
        self._plan = epoch_plan(task, own)
        self._program = task.program([run.member for run in own])
        self._pace = Pace()
        for place, row in enumerate(rows):
            self._program.load_state(place, program.state(row))

    def train(self, first: int, last: int) -> int:
        """Train a slice; the step that comes next."""
        reached = self._pace.train(self._program, self._plan, first, last)
        for place, row in enumerate(self.rows):
            self._whole.load_state(row, self._program.state(place))
        return reached


def first_epoch(task: Task, jobs: Sequence[TrialJob]) -> tuple[Program, EpochPlan] | None:
    """A program of these trials and the plan of their first epoch, to try some steps of; nothing of it is kept.

    None for a program that trains whole epochs only.
    """
    runs = [Run.of(job, task) for job in jobs]
    program = task.program([run.member for run in runs])
    return None if program.whole_epochs else (program, epoch_plan(task, runs))


def epoch_plan(task: Task, runs: Sequence[Run], *, num_epochs: int = 1) -> EpochPlan:
    """The plan of the epochs that these trials are in, or of these and those that follow."""
    batch_size, ahead = runs[0].member.settings.batch_size, range(num_epochs)
    steps = num_steps(task.num_train, batch_size)
    rates = [
        np.concatenate([learning_rates(r.member.settings, epoch=r.epoch + e, steps_per_epoch=steps) for e in ahead])
        for r in runs
    ]
    numbers = np.arange(num_epochs * steps)[:, None] + np.array([r.epoch * steps for r in runs])
    orders = [
        torch.cat(of_network) if num_epochs > 1 else of_network[0]
        for r in runs
        for of_network in zip(
            *(task.ahead.take(task.orders, r.job.seed, r.epoch + e, batch_size, r.job.part) for e in ahead), strict=True
        )
    ]
    if task.device.type == "cuda":  # while it trains these, the host has nothing else to do
        going_on = [r for r in runs if r.epoch + 1 < r.job.to_epoch]
        task.ahead.begin(task.orders, [(r.job.seed, r.epoch + 1, batch_size, r.job.part) for r in going_on])
    networks = len(orders) // len(runs)
    return EpochPlan(
        order_KN=stacked_on(orders, task.device),
        learning_rate_SK=np.stack(rates, axis=1).repeat(networks, axis=1),
        step_SK=numbers.repeat(networks, axis=1),
        num_epochs=num_epochs,
    )
