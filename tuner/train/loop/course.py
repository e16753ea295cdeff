"""The course of one trial: which epochs it has behind it, and why it ends. The same whoever trains it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tuner.paths import TrialPaths
from tuner.records import (
    Direction,
    EpochResult,
    EpochsFinished,
    Json,
    TrialEvent,
    TrialFinished,
    TrialJob,
    TrialPaused,
)
from tuner.spec.model import SweepSpec
from tuner.train.loop.early_stopping import Patience, keeps

PAUSE = "pause"


@dataclass(slots=True, eq=False, kw_only=True)
class Course(ABC):
    """A trial on its way to the epoch that its job says."""

    spec: SweepSpec
    direction: Direction
    job: TrialJob
    num_epochs: int
    """At which it is trained to its end."""
    curve: list[EpochResult] = field(default_factory=list)
    """The finished epochs."""
    patience: Patience = field(default_factory=Patience)
    kept: EpochResult | None = None
    """The epoch whose weights are kept, and which ranks the trial."""

    @property
    @abstractmethod
    def seconds(self) -> float:
        """For how long it has trained."""

    @property
    def may_rest(self) -> bool:
        """Whether it can go on later from where it is."""
        return True

    @property
    def paths(self) -> TrialPaths:
        return TrialPaths(Path(self.job.folder))

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.curve)

    def finish_epoch(self, result: EpochResult) -> bool:
        """Add a finished epoch; whether it is the one to keep so far."""
        self.curve.append(result)
        rule = self.spec.training.early_stopping
        self.patience = self.patience.after(result, direction=self.direction, rule=rule)
        if not keeps(result, self.kept, direction=self.direction, rule=rule):
            return False
        self.kept = result
        return True

    def told(self, results: Sequence[EpochResult]) -> EpochsFinished:
        """The event of epochs that are finished."""
        return EpochsFinished(trial=self.job.trial, results=tuple(results), kept=self.kept)

    @property
    def is_stopped_early(self) -> bool:
        return self.patience.exhausted(self.spec.training.early_stopping)

    @property
    def end(self) -> str | None:
        """Why it ends here: the reason of `TrialFinished`, `PAUSE`, or None to go on."""
        if self.is_stopped_early:
            return f"early stopping at epoch {self.epoch}"
        if self.epoch >= self.num_epochs:
            return "all epochs"
        return PAUSE if self.epoch >= self.job.to_epoch and self.may_rest else None

    def ended(self, facts: Mapping[str, Json]) -> TrialEvent:
        """The event of an end that has come."""
        reason = self.end
        assert reason is not None
        if reason == PAUSE:
            return TrialPaused(trial=self.job.trial, epoch=self.epoch, facts=facts)
        return TrialFinished(trial=self.job.trial, reason=reason, facts=facts)

    @property
    def certain_epochs(self) -> int:
        """So many epochs it will train from here, whatever they measure, unless it diverges or takes too long."""
        ends = [min(self.num_epochs, self.job.to_epoch)]
        ends += [phase.from_epoch for phase in self.job.phases if phase.from_epoch > self.epoch]
        certain = min(ends) - self.epoch
        rule = self.spec.training.early_stopping
        return max(1, certain if rule is None else min(certain, rule.patience - self.patience.stale_epochs))

    @property
    def overtime(self) -> str | None:
        """What is wrong if it has trained for longer than a trial may and is not done."""
        limit, seconds = self.spec.limits.trial_seconds, self.seconds
        if limit is None or seconds <= limit or self.end not in (None, PAUSE):
            return None
        return f"it trained for {seconds:.1f} s and {self.epoch} epochs; limits.trial_seconds is {limit:g}"
