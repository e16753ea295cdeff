"""The course of one trial that the user's own code trains: what it has reported, kept on disk."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tuner.paths import own_place
from tuner.records import EpochResult, TrialJob
from tuner.train.loop.artefacts import replacing, write_curve
from tuner.train.loop.course import Course
from tuner.train.loop.storing import storing
from tuner.train.own.reports import Report, ReportError, result_of
from tuner.train.own.task import OwnTask

log = logging.getLogger(__name__)

ROUNDING = 1e-3
"""Two reports of one epoch whose metrics differ by a smaller share say the same."""


@dataclass(slots=True, eq=False, kw_only=True)
class OwnCourse(Course):
    """The course of a trial whose epochs are reported."""

    task: OwnTask
    reported: list[EpochResult] = field(default_factory=list)
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
    is_given_up: bool = False
    """Whether it is not to go on, since its process could not be kept at a pause."""
    is_in_one_go: bool = False
    """Whether it is no longer paused, for the same reason."""
    _goes_on: bool = False
    """Whether this attempt found a checkpoint of an earlier one."""
    _seconds_before: float = 0.0

    @classmethod
    def of(cls, job: TrialJob, task: OwnTask) -> OwnCourse:
        """A job's course, with what its trial reported before; what another trial left in its folder is removed."""
        course = cls(spec=task.spec, direction=task.direction, job=job, num_epochs=task.spec.training.epochs, task=task)
        found = _read(course.paths.progress)
        if found is not None and found.get("seed") == job.seed and found.get("params") == dict(job.params):
            course.reported = [EpochResult(**result) for result in found["curve"]]
            course._finish(course.reported[: job.to_epoch])
            course.is_given_up = bool(found.get("given up"))
            if before := found.get("before"):
                course.before = EpochResult(**before)
        elif course.paths.own_checkpoint.exists():
            with storing(course.paths.own_checkpoint):
                shutil.rmtree(own_place(course.paths.own_checkpoint))
        with storing(course.paths.own_checkpoint):
            own_place(course.paths.own_checkpoint)
            course.paths.own_checkpoint.mkdir(parents=True, exist_ok=True)
        course._goes_on = course.can_resume
        course._seconds_before = course.reported[-1].seconds if course.reported else 0.0
        return course

    @property
    def may_rest(self) -> bool:
        return not self.is_in_one_go

    def train_to_end(self) -> list[EpochResult]:
        """Pause no more; the epochs that were reported beyond the pause count at once."""
        self.is_in_one_go = True
        return self._finish(self.reported[self.epoch :])

    def give_up(self) -> None:
        """Note that the trial is not to go on, unless it can from a checkpoint."""
        self.is_given_up = not self.can_resume
        self._write()

    @property
    def can_resume(self) -> bool:
        """Whether the user's code left something to go on from."""
        return any(self.paths.own_checkpoint.iterdir())

    @property
    def seconds(self) -> float:
        return self._seconds_before + time.monotonic() - self.began

    def add(self, report: Report) -> list[EpochResult]:
        """Take a report in; what is new in it to the coordinator, as far as the job asks for it.

        What an earlier attempt reported of an epoch holds: the search has decided by it. Nothing is taken in after the
        epoch in which the training diverged or was stopped early, however many were reported at once.

        Raises:
            ReportError: an epoch is missing before it, or it contradicts another report of this attempt.
        """
        if self.is_over:
            return []  # it may have gone on until this was seen
        number = report.epoch
        self._check_agrees(report)
        if number == 0:
            if self.before is None:
                self.before = result_of(report, metric=self.task.metric_name, seconds=self.seconds)
                self._write()
            return []
        first = len(self.reported) + 1
        if number > first and not self._lost_reports_before(number):
            before = f"epoch {self.last_reported or len(self.reported)}" if self.reported else "no epoch"
            raise ReportError(f"it reported epoch {number} after {before}; report each epoch, counted from 1")
        self.began_anew |= not self.last_reported and number == 1 and bool(self.reported)
        self.last_reported = number
        if number < first:
            return []
        result = result_of(report, metric=self.task.metric_name, seconds=self.seconds)
        news = [replace(result, epoch=epoch) for epoch in range(first, number + 1)]
        self.reported += news
        self._write()
        if not self.is_in_one_go:
            news = [result for result in news if result.epoch <= self.job.to_epoch]
        return self._finish(news)

    def _lost_reports_before(self, number: int) -> bool:
        """Whether reports were lost between a checkpoint and a kill; these epochs take the values of this one."""
        if self.last_reported or not self._goes_on:
            return False
        log.warning(
            "%s goes on from a checkpoint with epoch %d, and epoch %d was the last to be reported before it was "
            "killed: what is between them counts as epoch %d; reported before the checkpoint is written, an epoch "
            "is not lost",
            self.job.shown, number, len(self.reported), number,
        )  # fmt: skip
        return True

    def _finish(self, results: list[EpochResult]) -> list[EpochResult]:
        """Finish epochs up to the one in which the trial is over; returns these."""
        finished = []
        for result in results:
            if self.is_over:
                break
            self.finish_epoch(result)
            finished.append(result)
        return finished

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
        return is_one_short and (self.epoch == 0 or self.job.to_epoch < self.num_epochs)

    @property
    def is_over(self) -> bool:
        """Whether nothing that it reports counts any more."""
        return self.divergence is not None or self.is_stopped_early

    @property
    def divergence(self) -> str | None:
        """What is wrong with the first epoch in which its training diverged."""
        wrong = next((result for result in self.curve if not math.isfinite(result.dev_metric)), None)
        return None if wrong is None else f"{self.task.metric_name} became {wrong.dev_metric} in epoch {wrong.epoch}"

    def _write(self) -> None:
        values = {
            "seed": self.job.seed,
            "params": dict(self.job.params),
            "curve": [asdict(result) for result in self.reported],
            "before": asdict(self.before) if self.before else None,
            "given up": self.is_given_up,
        }
        with replacing(self.paths.progress) as path:
            path.write_text(json.dumps(values), encoding="utf-8")
        write_curve(self.paths, [*([self.before] if self.before else []), *self.reported])


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s is damaged (%s); the trial starts anew", path, error)
        return None
