"""One member of a cohort: a job, where its training stands, and the files that it keeps."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from tuner.errors import StudyMismatchError
from tuner.faults import fault_point
from tuner.models.unpacked import MARK
from tuner.paths import TrialPaths
from tuner.records import PART_METRIC, TRAIN_DEV_METRIC, EpochResult, Json, TrialJob
from tuner.train.loop.artefacts import write_curve, write_predictions, write_samples, write_weights
from tuner.train.loop.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from tuner.train.loop.course import PAUSE, Course
from tuner.train.loop.early_stopping import kept_of
from tuner.train.loop.monte_carlo import monte_carlo
from tuner.train.loop.resting import resting_of
from tuner.train.loop.sparsity import sparsity
from tuner.train.program import Member, Program
from tuner.train.programs.plain_trial import PlainTrial
from tuner.train.programs.user_parts import OtherOptimizerError
from tuner.train.task import Task

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False, kw_only=True)
class Run(Course):
    """The course of a trial that a program trains."""

    task: Task
    member: Member
    step: int = 0
    """Steps that are done of the epoch under way; 0 at an epoch's end."""
    epoch_seconds: float = 0.0
    """Training seconds of the epoch under way."""
    kept_outputs: Tensor | None = None
    """Dev outputs of the epoch that is kept as they were scored, shape (dev examples, outputs)."""
    synced_seconds: float = 0.0
    """See `Checkpoint.synced_seconds`."""
    has_trained: bool = False
    """Whether an epoch of this job is finished: a resumed trial may already be where it was sent."""
    began_anew: bool = False
    """Whether it had trained, in another way, of which nothing counts."""
    found: Checkpoint | None = None
    """Where to go on from, until `resume` has."""
    unsaved: str | None = None
    """What no checkpoint can hold of its state: it goes on to its last epoch, whatever its job says."""

    @classmethod
    def of(cls, job: TrialJob, task: Task) -> Run:
        """A job's run, with the checkpoint that its trial left."""
        found = resting_of(task).find(job) or read_checkpoint(TrialPaths(Path(job.folder)))
        if found is not None and (found.seed != job.seed or found.past != job.past(found.epoch, found.step)):
            found = None
        as_written = found is not None and found.state_format.startswith(PlainTrial.state_format)
        member = _member(task, job, epoch=found.epoch if found else 0, as_written=as_written)
        return cls(
            spec=task.spec,
            direction=task.direction,
            job=job,
            num_epochs=job.to_epoch if job.is_whole else member.settings.epochs,
            task=task,
            member=member,
            found=found,
        )

    @property
    def is_at_new_values(self) -> bool:
        """Whether the epoch that comes next is the first with other values, and there is one."""
        return self.end is None and any(phase.from_epoch == self.epoch for phase in self.job.phases)

    def take_new_values(self) -> None:
        """Become the member with the values of the next epoch; its state is the caller's to bring along."""
        self.member = _member(self.task, self.job, epoch=self.epoch, as_written=self.member.begun_as_written)

    @property
    def is_fresh(self) -> bool:
        """Whether nothing of it is trained."""
        return self.epoch == self.step == 0

    @property
    def seconds(self) -> float:
        """For how long it has trained, evaluations included."""
        return (self.curve[-1].seconds if self.curve else 0.0) + self.epoch_seconds

    def resume(self, program: Program, row: int) -> None:
        """Go on from the checkpoint that was found, if there is one."""
        found, self.found = self.found, None
        if found is None:
            return
        if found.state_format != program.state_format(row):
            log.warning("%s starts anew: its checkpoint is of another way to train", self.job.shown)
            self.began_anew = True
            return
        self._check_fits(found, program.state(row))
        try:
            program.load_state(row, found.state)
        except OtherOptimizerError as error:
            raise self._misfit(str(error).strip().splitlines()[0], part=self.spec.training.optimizer) from error
        except (RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
            raise self._misfit((str(error).strip().splitlines() or [type(error).__name__])[0]) from error
        self.curve, self.patience = list(found.curve), found.patience
        self.step, self.epoch_seconds = found.step, found.epoch_seconds
        self.synced_seconds = found.synced_seconds
        self.kept = kept_of(found.curve, direction=self.direction, rule=self.spec.training.early_stopping)
        if self.kept is None:
            return
        if found.best_outputs is None:  # of an earlier version
            self.kept_outputs = self.task.dev_outputs(self.member, program.best_weights(row))
        else:
            self.kept_outputs = found.best_outputs.to(self.task.device)

    def _check_fits(self, found: Checkpoint, fresh: Mapping[str, Tensor]) -> None:
        """A user's module may not be the one that the checkpoint is of.

        Raises:
            StudyMismatchError: it is not.
        """
        for name, tensor in fresh.items():
            if MARK not in name and name in found.state and found.state[name].shape != tensor.shape:
                was, now = tuple(found.state[name].shape), tuple(tensor.shape)
                raise self._misfit(f"{name} was of shape {was}, is of shape {now}")

    def _misfit(self, difference: str, *, part: str | None = None) -> StudyMismatchError:
        part = part or self.spec.model.kind
        return StudyMismatchError(
            f"{self.job.shown} cannot go on: its checkpoint does not fit {part}, which must "
            f"have changed ({difference}); put it back as it was, or start the study anew with `tuner run --fresh`"
        )

    def add(self, result: EpochResult) -> bool:
        """Add a finished epoch; whether it is the one to keep so far, and its outputs with it."""
        self.step, self.epoch_seconds = 0, 0.0
        self.has_trained = True
        return self.finish_epoch(result)

    @property
    def may_rest(self) -> bool:
        return self.unsaved is None

    # Files

    def write_curve(self) -> None:
        if self.curve:
            write_curve(self.paths, self.curve)

    def look_at_state(self, program: Program, row: int) -> bool:
        """Whether the trial may rest, or be left: its state can be written down. Where it cannot, that is said once."""
        if self.unsaved is None and (reason := program.unsaved(row)) is not None:
            self.unsaved = reason
            self.task.say_once(
                f"{self.spec.model.kind} is trained without pauses, and from its start after a crash: {reason}, "
                "which no checkpoint can hold; keep it in a buffer, a number or get_extra_state"
            )
        return self.unsaved is None

    def rests(self, program: Program, row: int) -> bool:
        """Whether it is paused, and its state is kept in this process, where it will be sent on soon."""
        if self.end != PAUSE or not self.job.stays or not self.look_at_state(program, row):
            return False
        return resting_of(self.task).keep(self.job.folder, self._checkpoint(program, row, lent=False))

    def write_checkpoint(self, program: Program, row: int) -> None:
        if not self.look_at_state(program, row):
            return
        began = time.perf_counter()
        self.synced_seconds = write_checkpoint(self.paths, self._checkpoint(program, row, lent=True))
        resting_of(self.task).filed(self.job.folder, seconds=time.perf_counter() - began)

    def _checkpoint(self, program: Program, row: int, *, lent: bool) -> Checkpoint:
        return Checkpoint(
            state=program.state(row, lent=lent),
            state_format=program.state_format(row),
            curve=tuple(self.curve),
            step=self.step,
            epoch_seconds=self.epoch_seconds,
            patience=self.patience,
            past=self.job.past(self.epoch, self.step),
            seed=self.job.seed,
            best_outputs=self.kept_outputs,
            synced_seconds=self.synced_seconds,
        )

    def write_best(self, program: Program, row: int) -> dict[str, Json]:
        """Leave the kept epoch's weights and dev predictions; the facts that follow from these."""
        assert self.kept_outputs is not None
        weights = program.best_weights(row)
        write_weights(self.paths, weights)
        write_predictions(self.task.predictions(self.kept_outputs), self.paths.predictions)
        if (samples := self.task.resampled_metric(self.kept_outputs)) is not None:
            write_samples(samples, self.paths.samples)
        fault_point("weights_written")
        found = sparsity(weights, self.task.info) if self.member.settings.l1 else {}
        passes = self.spec.training.monte_carlo_passes
        if passes is not None and (mean := monte_carlo(self.task, self.member, weights, passes=passes)) is not None:
            write_predictions(self.task.predictions(mean.outputs), self.paths.monte_carlo_predictions)
            found |= {"monte_carlo": dict(mean.facts)}
        if self.job.part is not None:
            found[PART_METRIC] = self.task.part_metric(self.member, weights, self.job.part)
        if self.task.folds:
            scores = self.task.dev_scores(self.kept_outputs)
            found["fold_scores"] = [float(own.metric[0]) for own in scores]
        on_train_dev = self.task.train_dev_metric(self.member, weights)
        return found if on_train_dev is None else found | {TRAIN_DEV_METRIC: on_train_dev}


def _member(task: Task, job: TrialJob, *, epoch: int, as_written: bool) -> Member:
    """The member of a job after so many epochs.

    Args:
        task: Of the cohort.
        job: What is trained.
        epoch: Finished epochs.
        as_written: Whether it was begun in the plain loop, and goes on there.
    """
    member = task.member(job, epoch=epoch)
    if not as_written:
        return member
    folds = tuple(replace(own, begun_as_written=True) for own in member.folds)
    return replace(member, begun_as_written=True, folds=folds)
