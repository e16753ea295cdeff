"""The inline executor: training in this process, one cohort after the other. For debugging, and for tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout

from tuner.execute.devices import WorkerPlace
from tuner.execute.facts import TaskFacts
from tuner.execute.planner import Planner
from tuner.execute.runner import CohortRunner
from tuner.execute.training import facts_of, open_task, write_dev_targets
from tuner.execute.waiting import PlannedJob, Waiting
from tuner.execute.widths import Footprint
from tuner.paths import StudyPaths
from tuner.records import TrialEvent, TrialInterrupted, TrialJob, TrialStarted
from tuner.spec.model import SweepSpec
from tuner.train.before.contract import check_before_trials
from tuner.train.own.task import OwnTask
from tuner.train.task import Task
from tuner.train.way import Way


class InlineExecutor:
    """See `execute.executor.Executor`. `events` trains a slice of an epoch of the present cohort.

    What users' code prints goes to standard error, where it cannot be taken for this program's results.
    """

    def __init__(
        self, spec: SweepSpec, paths: StudyPaths, *, device: str = "cpu", threads: int = 1, more: tuple[str, ...] = ()
    ) -> None:
        self._paths = paths
        with redirect_stdout(sys.stderr):
            self._task = open_task(spec, WorkerPlace(device, threads, None, more=more), paths=paths, alone=False)
        self.facts: TaskFacts = facts_of(self._task)
        self.planner = Planner(spec, self.facts, num_workers=1)
        self._runner = CohortRunner(self._task, worker="inline", too_wide=self._too_wide, measured=self._measured)
        self._pending = Waiting()
        self._training: Iterator[list[TrialEvent]] | None = None
        self._cohort: tuple[PlannedJob, ...] = ()
        """The one that was begun last."""
        self._interrupted = False

    def check_model(self) -> None:
        assert isinstance(self._task, Task)
        with redirect_stdout(sys.stderr):
            check_before_trials(self._task)

    def submit(self, jobs: Sequence[TrialJob]) -> None:
        self._pending.add(self.planner.describe(job) for job in jobs)

    def room(self) -> int:
        if self._interrupted or self._training is not None or self._pending:
            return 0
        if self.planner.on_accelerator:
            return self.planner.room_per_worker
        return 1 if self.planner.spec.training.fuse == "off" else self.planner.most_room

    def events(self, timeout_seconds: float) -> list[TrialEvent]:
        if self._interrupted and self._pending:
            ended = [TrialInterrupted(trial=p.job.trial) for p in self._pending.take_all()]
            return [*ended]
        training = self._training or self._begin()
        if training is None:
            return []
        with redirect_stdout(sys.stderr):
            found = next(training, None)
        if found is None:
            self._training = None
            return []
        for event in found:
            if isinstance(event, TrialStarted):
                self.planner.widths.note_way(self._cohort[0].key, fused=Way(event.path).is_fused)
        return found

    def let_go(self, folders: Sequence[str]) -> None:
        if isinstance(self._task, OwnTask):
            for folder in folders:
                self._task.kept.drop(folder)

    def interrupt(self) -> None:
        self._interrupted = True
        self._runner.interrupt()

    def close(self) -> None:
        self._pending = Waiting()
        self._training = None
        if isinstance(self._task, OwnTask):
            self._task.kept.close()

    def _begin(self) -> Iterator[list[TrialEvent]] | None:
        """Begin the next cohort, if there is one."""
        cohort = self.planner.next_cohort(self._pending, idle=1)
        if cohort is None:
            return None
        if not self._cohort:  # not earlier: until it trains, a run may still be refused
            write_dev_targets(self._task, self._paths)
        self._cohort = cohort.jobs
        self.planner.widths.note_cohort(len(cohort.jobs))
        self._pending.take(cohort.jobs)
        self._training = self._runner.train([p.job for p in cohort.jobs])
        return self._training

    def _too_wide(self, width: int) -> None:
        self.planner.too_wide(self._cohort[0].key, width)

    def _measured(self, found: Footprint) -> None:
        self.planner.note_footprint(self._cohort, found)
