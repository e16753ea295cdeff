"""The check of own training code before a sweep: two epochs of the default configuration, with a pause between them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tuner.records import EpochResult, EpochsFinished, TrialEvent, TrialFailed, TrialFinished, TrialJob, TrialPaused
from tuner.train.checks import Check
from tuner.train.own.open import open_loop
from tuner.train.own.task import OwnTask

LIMIT_SECONDS = 120.0
"""A longer epoch is not waited for."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What two epochs showed."""

    checks: tuple[Check, ...]
    epoch_seconds: float | None
    """Of an epoch, the start of the user's code included; None if none was finished."""


def rehearse(task: OwnTask, job: TrialJob, *, limit_seconds: float = LIMIT_SECONDS) -> Rehearsal:
    """Train a job's configuration for one epoch, then for a second.

    Args:
        task: The sweep's task.
        job: The configuration, and an empty folder.
        limit_seconds: For each of the two.
    """
    first, seconds = _advance(task, replace(job, to_epoch=1), limit_seconds)
    if first is None:
        advice = "nothing to do, if your epochs take so long"
        check = Check("reports", True, f"no report within {limit_seconds:g} s, so it was not waited for", advice)
        return Rehearsal((check,), None)
    if isinstance(first, str):
        return Rehearsal((Check("reports", False, first, f"see how a {task.path} reports in docs/your-code.md"),), None)
    shown = f"epoch 1 has {task.metric_name} {first.dev_metric:.6g} after {seconds:.1f} s"
    checks = [Check("reports", True, shown)]
    if task.spec.training.epochs > 1:
        check, again = _check_resume(task, replace(job, to_epoch=2), limit_seconds)
        checks.append(check)
        seconds = min(seconds, again)  # the first has what is done but once: imports, caches
    return Rehearsal(tuple(checks), seconds)


def _check_resume(task: OwnTask, job: TrialJob, limit_seconds: float) -> tuple[Check, float]:
    name = "goes on after a pause"
    second, seconds = _advance(task, job, limit_seconds)
    if isinstance(second, str):
        check = Check(name, False, second, "a second start must go on from the checkpoint folder, or begin anew")
    elif second is None:
        check = Check(name, True, f"no report within {limit_seconds:g} s, so it was not waited for")
    elif task.has_said("began anew"):
        check = Check(name, True, "no, it begins again at epoch 1: write checkpoints, or use `search.pruner: none`")
    else:
        check = Check(name, True, "yes, with epoch 2")
    return check, seconds


def _advance(task: OwnTask, job: TrialJob, limit_seconds: float) -> tuple[EpochResult | str | None, float]:
    """The last epoch, what went wrong, or None if it took too long; and the seconds."""
    began = time.monotonic()
    last: EpochResult | None = None
    training: Iterator[list[TrialEvent]] = open_loop(task, [job], worker="check").epochs()
    for events in training:
        for event in events:
            match event:
                case EpochsFinished(results=results):
                    last = results[-1]
                case TrialFailed(message=message):
                    return message, time.monotonic() - began
                case TrialPaused() | TrialFinished() if last is None or last.epoch < job.to_epoch:
                    return f"it ended by itself before epoch {job.to_epoch}", time.monotonic() - began
        if time.monotonic() - began > limit_seconds:
            return None, limit_seconds
    return last, time.monotonic() - began
