"""The course of one trial that the user's own code trains: what it has reported, kept on disk, and where it ends."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tuner.paths import TrialPaths, own_place
from tuner.records import EpochResult, TrialJob
from tuner.train.loop.artefacts import replacing, storing, write_curve
from tuner.train.loop.early_stopping import Patience
from tuner.train.own.reports import Report, ReportError, result_of
from tuner.train.own.task import OwnTask

log = logging.getLogger(__name__)

PAUSE = "pause"
ROUNDING = 1e-3
"""Two reports of one epoch whose metrics differ by a smaller share say the same."""


@dataclass(slots=True)
class Course:
    """A trial on its way to the epoch that its job says."""

    task: OwnTask
    job: TrialJob
    curve: list[EpochResult] = field(default_factory=list)
    """All epochs that were reported; a trial that was not ended in time may be ahead of its job."""
    began: float = field(default_factory=time.monotonic)
    before: EpochResult | None = None
    """Epoch 0, a measurement before the first step: shown in the curve, and never ranked."""
    last_reported: int = 0
    """The epoch of this attempt's last report."""
    _told: dict[int, float] = field(default_factory=dict)
    """The metric of each epoch that this attempt has reported."""
    began_anew: bool = False
    """Whether this attempt went back to epochs that are known: it does not go on from a checkpoint."""
    _seconds_before: float = 0.0

    @classmethod
    def of(cls, job: TrialJob, task: OwnTask) -> Course:
        """A job's course, with what its trial reported before; what another trial left in its folder is removed."""
        course = cls(task, job)
        found = _read(course.paths.progress)
        if found is not None and found.get("seed") == job.seed and found.get("params") == dict(job.params):
            course.curve = [EpochResult(**result) for result in found["curve"]]
            if before := found.get("before"):
                course.before = EpochResult(**before)
        elif course.paths.own_checkpoint.exists():
            with storing(course.paths.own_checkpoint):
                shutil.rmtree(own_place(course.paths.own_checkpoint))
        with storing(course.paths.own_checkpoint):
            own_place(course.paths.own_checkpoint)
            course.paths.own_checkpoint.mkdir(parents=True, exist_ok=True)
        course._seconds_before = course.curve[-1].seconds if course.curve else 0.0
        return course

    @property
    def paths(self) -> TrialPaths:
        return TrialPaths(Path(self.job.folder))

    @property
    def known(self) -> list[EpochResult]:
        """The epochs up to where the job sends the trial."""
        return self.curve[: self.job.to_epoch]

    @property
    def epoch(self) -> int:
        """Finished epochs, as far as the job goes."""
        return len(self.known)

    @property
    def can_resume(self) -> bool:
        """Whether the user's code left something to go on from."""
        return any(self.paths.own_checkpoint.iterdir())

    @property
    def seconds(self) -> float:
        """Of the trial so far."""
        return self._seconds_before + time.monotonic() - self.began

    def add(self, report: Report) -> EpochResult | None:
        """Take a report in; its result if the coordinator does not know it and the job asks for it.

        What an earlier attempt reported of an epoch holds: the search has decided by it. Nothing is taken in after the
        epoch in which the training diverged or was stopped early, however many were reported at once.

        Raises:
            ReportError: an epoch is missing before it, or it contradicts another report of this attempt.
        """
        if self.divergence is not None or self._stopped is not None:
            return None  # it may have gone on until this was seen
        number = report.epoch
        self._check_agrees(report)
        if number == 0:
            if self.before is None:
                self.before = result_of(report, metric=self.task.metric_name, seconds=self.seconds)
                self._write()
            return None
        if number > len(self.curve) + 1:
            before = f"epoch {self.last_reported or len(self.curve)}" if self.curve else "no epoch"
            raise ReportError(f"it reported epoch {number} after {before}; report each epoch, counted from 1")
        self.began_anew |= not self.last_reported and number == 1 and bool(self.curve)
        self.last_reported = number
        if number <= len(self.curve):
            return None
        result = result_of(report, metric=self.task.metric_name, seconds=self.seconds)
        self.curve.append(result)
        self._write()
        return result if number <= self.job.to_epoch else None

    def _check_agrees(self, report: Report) -> None:
        """Make sure that this attempt has told nothing else of the epoch, apart from rounding."""
        name, value = self.task.metric_name, report.values[self.task.metric_name]
        first = self._told.setdefault(report.epoch, value)
        if math.isclose(first, value, rel_tol=ROUNDING) or (math.isnan(first) and math.isnan(value)):
            return
        raise ReportError(
            f"it reported epoch {report.epoch} twice, with {name} {first:g} and then {value:g}; report each epoch "
            f"once, at its end, and leave {name} out of what else you report with an epoch"
        )

    @property
    def counts_from_zero(self) -> bool:
        """Whether it looks as if the first epoch was reported as epoch 0: one is missing at the end."""
        is_one_short = self.before is not None and self.epoch == self.job.to_epoch - 1
        return is_one_short and (self.epoch == 0 or self.job.to_epoch < self.task.spec.training.epochs)

    @property
    def end(self) -> str | None:
        """Why it ends here: the reason of `TrialFinished`, `PAUSE`, or None to go on."""
        if self._stopped is not None:
            return f"early stopping at epoch {self._stopped}"
        if self.epoch >= self.task.spec.training.epochs:
            return "all epochs"
        return PAUSE if self.epoch >= self.job.to_epoch else None

    @property
    def _stopped(self) -> int | None:
        """The epoch at which it is stopped early."""
        rule, patience = self.task.spec.training.early_stopping, Patience()
        for result in self.known if rule else ():
            patience = patience.after(
                result.dev_metric, direction=self.task.direction, min_delta=rule.min_delta if rule else 0.0
            )
            if patience.exhausted(rule):
                return result.epoch
        return None

    @property
    def divergence(self) -> str | None:
        """What is wrong with the first epoch in which its training diverged."""
        wrong = next((result for result in self.known if not math.isfinite(result.dev_metric)), None)
        return None if wrong is None else f"{self.task.metric_name} became {wrong.dev_metric} in epoch {wrong.epoch}"

    @property
    def overtime(self) -> str | None:
        """What is wrong if it has trained for longer than a trial may and is not done."""
        limit, seconds = self.task.spec.limits.trial_seconds, self.seconds
        if limit is None or seconds <= limit or self.end not in (None, PAUSE):
            return None
        return f"it trained for {seconds:.1f} s and {self.epoch} epochs; limits.trial_seconds is {limit:g}"

    def _write(self) -> None:
        values = {
            "seed": self.job.seed,
            "params": dict(self.job.params),
            "curve": [asdict(result) for result in self.curve],
            "before": asdict(self.before) if self.before else None,
        }
        with replacing(self.paths.progress) as path:
            path.write_text(json.dumps(values), encoding="utf-8")
        write_curve(self.paths, [*([self.before] if self.before else []), *self.curve])


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s is damaged (%s); the trial starts anew", path, error)
        return None
