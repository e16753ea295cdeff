"""The local executor: persistent worker processes on this machine, one for each core or accelerator."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import wait

from tuner.execute.devices import WorkerPlace, prepare_environment
from tuner.execute.fork_server import fork_server
from tuner.execute.pool import WorkerPool
from tuner.execute.process import WorkerProcess
from tuner.execute.scarcity import KernelKills
from tuner.execute.watched import Worker
from tuner.paths import StudyPaths
from tuner.spec.model import SweepSpec


class LocalExecutor(WorkerPool):
    """Workers that are forks of one process on this machine."""

    def __init__(self, spec: SweepSpec, paths: StudyPaths, places: Sequence[WorkerPlace]) -> None:
        """Start the workers; they load the data while the caller goes on."""
        super().__init__(spec, paths)
        prepare_environment(places[0])
        self._context = fork_server(spec)
        self._kernel_kills = KernelKills()
        self._processes: dict[int, WorkerProcess] = {}
        """Of each worker, by its number."""
        self.workers = [self._start(number, place) for number, place in enumerate(places)]

    def _wait(self, timeout_seconds: float) -> list[Worker]:
        sources = [source for worker in self.workers for source in self._processes[worker.number].waitables]
        ready: set[object] = set(wait(sources, timeout_seconds))
        return [w for w in self.workers if not ready.isdisjoint(self._processes[w.number].waitables)]

    def _another(self, lost: Worker) -> Worker:
        return self._start(lost.number, lost.place)

    def _start(self, number: int, place: WorkerPlace) -> Worker:
        process = WorkerProcess(
            self._context,
            self.spec,
            self.paths,
            name=f"worker {number}",
            place=place,
            kernel_kills=self._kernel_kills,
        )
        self._processes[number] = process
        return Worker(number, place, process)
