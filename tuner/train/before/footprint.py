"""What a group of trials takes of a GPU's memory, found out by training some steps of few."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from tuner.records import TrialJob
from tuner.train.loop.slices import first_epoch
from tuner.train.programs.modules.vmapped import RECORD_AFTER_RUNS
from tuner.train.task import Task

STEPS = RECORD_AFTER_RUNS + 2
"""The last of which is a replay."""


def bytes_of(task: Task, jobs: Sequence[TrialJob]) -> int | None:
    """The most bytes that a program of these trials takes on CUDA, in its steps and in an evaluation.

    Nothing of it is kept. None for a program that trains whole epochs only.
    """
    torch.cuda.reset_peak_memory_stats(task.device)
    before = torch.cuda.memory_allocated(task.device)
    if (found := first_epoch(task, jobs)) is None:
        return None
    program, plan = found
    last = len(plan.step_SK)
    program.train_steps(plan, 0, min(STEPS, last))
    if last > STEPS:
        program.train_steps(plan, last - 1, last)  # which may be of another size
    task.evaluate(program)
    return torch.cuda.max_memory_allocated(task.device) - before
