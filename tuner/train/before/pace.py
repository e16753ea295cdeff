"""How long trials take for an epoch on a device, found out by training some steps of it."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tuner.records import TrialJob
from tuner.train.device.gpus import wait_for
from tuner.train.loop.slices import first_epoch
from tuner.train.programs.modules.vmapped import RECORD_AFTER_RUNS
from tuner.train.task import Task

WARM_UP_STEPS = RECORD_AFTER_RUNS + 2
"""The last of which is a replay."""
LEAST_SECONDS = 0.3


def trial_epoch_seconds(task: Task, jobs: Sequence[TrialJob]) -> float | None:
    """Seconds of an epoch and its evaluation, for each of these trials when they train together.

    None for a program that trains whole epochs only.
    """
    if (found := first_epoch(task, jobs)) is None:
        return None
    program, plan = found
    steps = len(plan.step_SK)
    for _ in range(-(-WARM_UP_STEPS // steps)):
        program.train_steps(plan, 0, min(steps, WARM_UP_STEPS))
    task.evaluate(program)
    wait_for(task.device)
    taken, count, began = 0.0, 0, time.perf_counter()
    while taken < LEAST_SECONDS:
        program.train_steps(plan, count % steps, count % steps + 1)
        count += 1
        if count % WARM_UP_STEPS == 0:
            wait_for(task.device)
            taken = time.perf_counter() - began
    began = time.perf_counter()
    task.evaluate(program)
    return (taken / count * steps + time.perf_counter() - began) / len(jobs)
