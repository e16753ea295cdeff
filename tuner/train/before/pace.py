"""How long trials take for an epoch on a device, found out by training some steps of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from tuner.records import EpochsFinished, TrialFailed, TrialJob
from tuner.train.device.gpus import wait_for
from tuner.train.loop.cohort import Cohort
from tuner.train.loop.slices import first_epoch
from tuner.train.programs.modules.vmapped import RECORD_AFTER_RUNS
from tuner.train.task import Task

WARM_UP_STEPS = RECORD_AFTER_RUNS + 2
"""The last of which is a replay."""
_WARM_UP_SECONDS = 1.0
"""Steps that take so long gain little by being recorded: fewer of them are a warm-up, too."""
LEAST_SECONDS = 0.3
"""What is timed takes at least so long."""


def trial_epoch_seconds(task: Task, jobs: Sequence[TrialJob]) -> float | None:
    """Seconds of an epoch and its evaluation, for each of these trials when they train together.

    As few steps are trained, and as few examples evaluated, as can be timed. None for a program that trains whole
    epochs only.
    """
    if (found := first_epoch(task, jobs)) is None:
        return None
    program, plan = found
    steps, evaluated = len(plan.step_SK), task.num_evaluated

    def train(count: int) -> None:
        program.train_steps(plan, 0, count)

    def evaluate(count: int) -> None:
        if count < evaluated:
            task.evaluate_some(program, count)
        else:
            task.evaluate(program)

    _warm_up(lambda: train(1), task.device)
    seconds = steps * _seconds_of_each(train, steps, task.device)
    seconds += evaluated * _seconds_of_each(evaluate, evaluated, task.device)
    return seconds / len(jobs)


def _warm_up(step: Callable[[], None], device: torch.device) -> None:
    began = time.perf_counter()
    for _ in range(WARM_UP_STEPS):
        step()
        wait_for(device)
        if time.perf_counter() - began > _WARM_UP_SECONDS:
            return


def _seconds_of_each(run: Callable[[int], None], most: int, device: torch.device) -> float:
    """Seconds of one of so many: twice as many are tried each time until they take long enough, and those are timed.

    What has not been done before for so many is made first, and would count.
    """
    count = 1
    while count < most and _seconds(run, count, device) < LEAST_SECONDS:
        count = min(most, 2 * count)
    done, taken = 0, 0.0
    while taken < LEAST_SECONDS:
        taken += _seconds(run, count, device)
        done += count
    return taken / done


def _seconds(run: Callable[[int], None], count: int, device: torch.device) -> float:
    began = time.perf_counter()
    run(count)
    wait_for(device)
    return time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class CohortPace:
    """How long a cohort takes."""

    epoch_seconds: float
    """Of an epoch of all its trials, with its evaluation and whatever else there is at its end."""
    begin_seconds: float
    """Beyond the epochs, until the first one has ended: the program is made, and its steps are recorded."""


_LIMIT_SECONDS = 0.5
"""So long is trained; a longer epoch is reckoned from its steps."""
_LONGEST_SECONDS = 60.0
"""So long is waited for an epoch of which no single step can be trained."""


def cohort_pace(task: Task, jobs: Sequence[TrialJob], *, limit_seconds: float = _LIMIT_SECONDS) -> CohortPace | None:
    """Train these jobs together for a while, and see how long an epoch takes; None if one fails, or takes too long."""
    began = time.perf_counter()
    ends: list[tuple[float, int]] = []
    for events in Cohort(task, jobs, worker="check").epochs():
        seconds = time.perf_counter() - began
        if any(isinstance(event, TrialFailed) for event in events):
            return None
        told = [e.results[-1].epoch for e in events if isinstance(e, EpochsFinished)]
        ends += [(seconds, max(told))] if told else []
        if seconds > limit_seconds:
            break
    if not ends:
        return _pace_of_steps(task, jobs, limit_seconds=limit_seconds)
    (first, epochs_then), (last, epochs) = ends[0], ends[-1]
    each = (last - first) / (epochs - epochs_then) if epochs > epochs_then else first / epochs
    return CohortPace(each, max(0.0, first - each * epochs_then))


def _pace_of_steps(task: Task, jobs: Sequence[TrialJob], *, limit_seconds: float) -> CohortPace | None:
    each = trial_epoch_seconds(task, jobs)
    if each is not None:
        return CohortPace(each * len(jobs), 0.0)
    return cohort_pace(task, jobs, limit_seconds=_LONGEST_SECONDS) if limit_seconds < _LONGEST_SECONDS else None
