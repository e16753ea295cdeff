"""The check of own training code before a sweep: an epoch of the default configuration, a pause, and one more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from tuner.paths import TrialPaths
from tuner.records import EpochResult, EpochsFinished, TrialFailed, TrialFinished, TrialJob, TrialPaused
from tuner.train.before.checks import Check
from tuner.train.own.course import OwnCourse
from tuner.train.own.loop import BEGAN_ANEW
from tuner.train.own.open import open_loop
from tuner.train.own.proposal import lines_with_numbers, others_named, proposed
from tuner.train.own.task import OwnTask

_LIMIT_SECONDS = 120.0
"""A longer epoch is not waited for."""


@dataclass(frozen=True, slots=True)
class _Rehearsal:
    """What the two starts showed."""

    checks: tuple[Check, ...]
    epoch_seconds: float | None
    """Of an epoch; None if none was finished."""
    begin_seconds: float = 0.0
    """By which the first epoch took longer: for the start of a process, imports, data."""
    program_bytes: int = 0
    """At their peak, of the processes that it starts."""


def rehearse(task: OwnTask, job: TrialJob, *, limit_seconds: float = _LIMIT_SECONDS) -> _Rehearsal:
    """Train a job's configuration for one epoch, and start it again.

    Args:
        task: The sweep's task.
        job: The configuration, and an empty folder.
        limit_seconds: For each of the two.
    """
    starts = _Starts(task, limit_seconds)
    first = starts.advance(replace(job, to_epoch=1))
    if first is None:
        advice = _proposal(task, job) or "nothing to do, if your epochs take so long"
        check = Check("reports", True, f"no report within {limit_seconds:g} s, so it was not waited for", advice)
        return _Rehearsal((check,), None, program_bytes=starts.program_bytes)
    if isinstance(first, str):
        advice = _proposal(task, job) or f"see how a {task.path} reports in docs/your-code.md"
        return _Rehearsal((Check("reports", False, first, advice),), None, program_bytes=starts.program_bytes)
    shown = f"epoch 1 has {task.metric_name} {first.dev_metric:.6g} after {first.seconds:.1f} s"
    checks = [Check("reports", True, shown)]
    if task.spec.training.epochs > 1 and not _is_never_paused(task):
        checks.append(_check_resume(task, job, starts))
    return _Rehearsal(tuple(checks), *_pace(OwnCourse.of(job, task).reported), starts.program_bytes)


def _is_never_paused(task: OwnTask) -> bool:
    """Whether its trials are trained in one go, since nobody taught the command to pause."""
    return task.spec.reports is not None and task.spec.search.pruner == "none"


def _check_resume(task: OwnTask, job: TrialJob, starts: _Starts) -> Check:
    """Start it again, and see with which epoch it goes on; code that knows no pause may be ahead of the first epoch."""
    name, path = "goes on after a pause", task.path
    reached = len(OwnCourse.of(job, task).reported)
    if reached >= task.spec.training.epochs:
        return Check(name, True, f"not seen: the {path} had reported all its epochs before it could be paused")
    is_kept = task.kept.has(job.folder)
    second = starts.advance(replace(job, to_epoch=reached + 1))
    task.kept.close()
    if task.has_said(BEGAN_ANEW):
        remedy = "write checkpoints, or use `search.pruner: none`"
        return Check(name, True, f"no: it begins again at epoch 1, so each pause costs its epochs again; {remedy}")
    if isinstance(second, str):
        return Check(name, False, second, "a second start must go on from the checkpoint folder, or begin anew")
    if second is None:
        return Check(name, True, f"not seen: no report within {starts.limit_seconds:g} s, so it was not waited for")
    how = ": its process is kept stopped, and trains again from epoch 1 only if that is lost" if is_kept else ""
    return Check(name, True, f"yes, with epoch {second.epoch}{how}")


def _proposal(task: OwnTask, job: TrialJob) -> str:
    """How to read the numbers that a command has printed in words of its own; empty where there are none."""
    if task.path != "command" or OwnCourse.of(job, task).reported:
        return ""
    with suppress(OSError):
        text = TrialPaths(Path(job.folder)).log.read_text(encoding="utf-8", errors="replace")
        lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
        metric = task.metric_name
        block = proposed(lines, metric=metric)
        named = others_named(lines, metric=metric).items()
        others = [f"try objective: {{metric: {name}}} and {reads}" for name, reads in named]
        if block is not None:
            also = [f"or, as its lines name others: {others[0]}", *others[1:]] if others else []
            return "\n".join([f"it seems to print {metric} in words of its own: try {block}", *also])
        if others:
            return "\n".join([f"no line of it names {metric}, but others:", *others])
        if shown := lines_with_numbers(lines):
            lines_of = ", ".join(f"`{line}`" for line in shown)
            return f"these of its lines hold numbers: {lines_of}; `reports: {{pattern: ...}}` reads one of them"
    return ""


def _pace(curve: Sequence[EpochResult]) -> tuple[float, float]:
    """Seconds of the quickest epoch; and by which the first took longer, which has what is done but once."""
    moments = [0.0, *(result.seconds for result in curve)]
    quickest = min(after - before for before, after in pairwise(moments))
    return quickest, moments[1] - quickest


class _Starts:
    """Starts of the user's code, and the memory that it takes."""

    def __init__(self, task: OwnTask, limit_seconds: float) -> None:
        self._task = task
        self.limit_seconds = limit_seconds
        """For each."""
        self.program_bytes = 0
        """At their peak, of the processes that it started."""

    def advance(self, job: TrialJob) -> EpochResult | str | None:
        """The last epoch, what went wrong, or None if it took too long; ends as soon as it is seen to begin anew."""
        task = self._task
        began = time.monotonic()
        last: EpochResult | None = None
        loop = open_loop(task, [job], worker="check")
        with closing(loop.epochs()) as training:
            for events in training:
                self.program_bytes = max(self.program_bytes, loop.num_bytes)
                for event in events:
                    match event:
                        case EpochsFinished(results=results):
                            last = results[-1]
                        case TrialFailed(message=message):
                            return message
                        case TrialPaused() | TrialFinished() if last is None or last.epoch < job.to_epoch:
                            return f"it ended by itself before epoch {job.to_epoch}"
                if task.has_said(BEGAN_ANEW):
                    return last
                if time.monotonic() - began > self.limit_seconds:
                    return None
        return last
