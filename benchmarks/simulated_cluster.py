"""A cluster whose trials take time that nobody waits for, for `scale.py`: all of a coordinator's work, and no training.

Everything but the workers is what a run has: the pool of workers, the planner, the loop, the search, the store. Its
clock is the processor time of this process and what the coordinator would have waited for, which is skipped. So what
it shows, how busy the coordinator is and how long workers wait for it, is the same on a machine with other work.
"""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from tuner.execute.devices import WorkerPlace
from tuner.execute.facts import TaskFacts
from tuner.execute.pool import WorkerPool
from tuner.execute.scarcity import Scarcity
from tuner.execute.watched import Worker
from tuner.paths import StudyPaths
from tuner.records import (
    Direction,
    EpochResult,
    EpochsFinished,
    FailureReason,
    Params,
    TrialEvent,
    TrialFinished,
    TrialJob,
    TrialPaused,
    TrialStarted,
)
from tuner.spec.model import SweepSpec

Curve = Callable[[Params, int], float]
"""(parameters, epoch) to the dev metric."""


_GOLDEN = 0.6180339887498949
"""Its multiples are spread evenly between whole numbers."""


class Clock:
    """Seconds of this process's processors, and those that were skipped."""

    def __init__(self) -> None:
        self._began = time.process_time()
        self.skipped = 0.0

    @property
    def busy(self) -> float:
        return time.process_time() - self._began

    def __call__(self) -> float:
        return self.busy + self.skipped


class SimulatedCluster(WorkerPool):
    """Workers that are always there, each of which trains one trial at a time."""

    def __init__(
        self, spec: SweepSpec, paths: StudyPaths, curve: Curve, *, workers: int, epoch_seconds: float, clock: Clock
    ) -> None:
        """
        Args:
            spec: The sweep.
            paths: Where the study would be.
            curve: What each epoch of each configuration measures.
            workers: How many there are.
            epoch_seconds: Of a trial, on average: each has its own, from half of it to half as much again.
            clock: The time.
        """
        super().__init__(spec, paths)
        self.clock = clock
        self.curve = curve
        self.epoch_seconds = epoch_seconds
        self.trained: dict[int, EpochResult] = {}
        """The last epoch of each trial that is not done."""
        self.idle = 0.0
        """Seconds that workers have waited for their next trial, all together."""
        self._due: list[tuple[float, int, _Simulated, tuple[Any, ...]]] = []
        self._serial = count()
        place = WorkerPlace("cpu", 1, None, False)
        self.workers = [Worker(number, place, _Simulated(self)) for number in range(workers)]
        for worker in self.workers:
            worker.process.received_soon(("ready", self._simulated_facts()))

    def _another(self, lost: Worker) -> Worker | None:
        raise AssertionError("none is lost")

    def _wait(self, timeout_seconds: float) -> list[Worker]:
        now = self.clock()
        if self._due and self._due[0][0] > now:
            self.clock.skipped += min(timeout_seconds, self._due[0][0] - now)
        now = self.clock()
        while self._due and self._due[0][0] <= now:
            _, _, process, message = heapq.heappop(self._due)
            process.received_soon(message)
        return [worker for worker in self.workers if worker.process.has_said_something]

    def train(self, process: _Simulated, job: TrialJob) -> None:
        """Have the worker say what it would, when it would."""
        now, before = max(self.clock(), process.free_at), self.trained.get(job.trial)
        self.idle += now - process.free_at if process.free_at else 0.0
        first = before.epoch if before else 0
        epoch_seconds = self.epoch_seconds * (0.5 + job.trial * _GOLDEN % 1.0)
        self._say(now, process, TrialStarted(
            trial=job.trial, worker="simulated", device="cpu", path="stacked", cohort_width=1, from_epoch=first,
            num_parameters=1,
        ))  # fmt: skip
        for epoch in range(first + 1, job.to_epoch + 1):
            value = self.curve(job.params, epoch)
            result = EpochResult(
                epoch=epoch, train_loss=1.0 - value, dev_loss=1.0 - value, train_metric=value, dev_metric=value,
                learning_rate=0.1, seconds=epoch_seconds * epoch,
            )  # fmt: skip
            self.trained[job.trial] = result
            now += epoch_seconds
            self._say(now, process, EpochsFinished(trial=job.trial, results=(result,)))
        if job.to_epoch >= self.spec.training.epochs:
            del self.trained[job.trial]
            self._say(now, process, TrialFinished(trial=job.trial, reason="all epochs"))
        else:
            self._say(now, process, TrialPaused(trial=job.trial, epoch=job.to_epoch))
        process.free_at = now

    def _say(self, at: float, process: _Simulated, event: TrialEvent) -> None:
        heapq.heappush(self._due, (at, next(self._serial), process, ("events", [event])))

    def _simulated_facts(self) -> TaskFacts:
        data = {"task": "classification", "input_shape": [20], "num_outputs": 2, "num_train": 4000, "num_dev": 1000}
        calibration = {"overhead_seconds": 1e-6, "flops_per_second": 1e9}
        return TaskFacts(
            metric="accuracy", direction=Direction.MAXIMIZE, data=data, device="cpu", calibration=calibration
        )


class _Simulated:
    """See `tuner.execute.process.Process`."""

    was_killed = went_with_its_machine = False
    scarcity = Scarcity()

    def __init__(self, cluster: SimulatedCluster) -> None:
        self.printed = self
        self._cluster = cluster
        self._inbox: deque[tuple[Any, ...]] = deque()
        self.free_at = 0.0
        """When it has trained all that it was given."""

    @property
    def has_said_something(self) -> bool:
        return bool(self._inbox)

    def received_soon(self, message: tuple[Any, ...]) -> None:
        self._inbox.append(message)

    def send(self, *message: Any) -> None:
        match message:
            case ("train" | "join", jobs):
                for job in jobs:
                    self._cluster.train(self, job)

    def received(self) -> Iterator[tuple[Any, ...]]:
        while self._inbox:
            yield self._inbox.popleft()

    def ask_to_end(self) -> None: ...

    def join(self, timeout_seconds: float) -> None: ...

    def kill(self) -> None: ...

    def bury(self) -> tuple[FailureReason, str, bool]:
        return FailureReason.KILLED, "", True

    def take(self) -> bytes:
        return b""

    def close(self) -> None: ...
