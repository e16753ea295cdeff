"""The inline executor: training in this process, one cohort after the other. For debugging, and for tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tuner.execute.facts import TaskFacts
from tuner.execute.planner import PlannedJob, Planner
from tuner.execute.runner import CohortRunner
from tuner.execute.training import facts_of, open_task, write_dev_targets
from tuner.paths import StudyPaths
from tuner.records import TrialEvent, TrialInterrupted, TrialJob
from tuner.spec.model import SweepSpec


class InlineExecutor:
    """See `execute.executor.Executor`. `events` trains one epoch of the present cohort."""

    def __init__(self, spec: SweepSpec, paths: StudyPaths, *, device: str = "cpu", threads: int = 1) -> None:
        task = open_task(spec, device=device, threads=threads)
        write_dev_targets(task, paths)
        self.facts: TaskFacts = facts_of(task)
        self.planner = Planner(spec, self.facts, num_workers=1)
        self._runner = CohortRunner(task, worker="inline")
        self._pending: list[PlannedJob] = []
        self._training: Iterator[list[TrialEvent]] | None = None
        self._interrupted = False

    def submit(self, jobs: Sequence[TrialJob]) -> None:
        self._pending += [self.planner.describe(job) for job in jobs]

    def room(self) -> int:
        if self._interrupted or self._training is not None or self._pending:
            return 0
        return 1 if self.planner.spec.training.fuse == "off" else 16

    def events(self, timeout_seconds: float) -> list[TrialEvent]:
        if self._training is None:
            if self._interrupted:
                ended = [TrialInterrupted(trial=p.job.trial, epoch=0) for p in self._pending]
                self._pending = []
                return [*ended]
            cohort = self.planner.next_cohort(self._pending)
            if cohort is None:
                return []
            self._pending = [p for p in self._pending if p not in cohort.jobs]
            self._training = self._runner.train([p.job for p in cohort.jobs])
        found = next(self._training, None)
        if found is None:
            self._training = None
            return []
        return found

    def interrupt(self) -> None:
        self._interrupted = True
        self._runner.interrupt()

    def close(self) -> None:
        self._pending = []
        self._training = None
