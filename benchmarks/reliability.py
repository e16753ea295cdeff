"""What crash safety costs, and how soon a trial is running again after `kill -9` of its worker.

    python benchmarks/reliability.py [--trials 64] [--rounds 3] [--kills 7]

Checkpoints: the digits sweep (`sweeps/digits.yaml`, without finalists and reports) in this process, by turns with
checkpoints on disk and with checkpoints that are kept in memory as they are (a sweep that pauses trials cannot do
without any). The share is the time inside reading and writing them, over that of the sweep; the ratio compares sweeps.

Recovery: from the signal to the new worker's `TrialStarted`, of a cohort of two trials on the local executor. That is
a fork, loading the data, reading the checkpoints and building the networks.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tuner.execute.numeric import set_numeric_environment

SWEEP = Path(__file__).parents[1] / "sweeps" / "digits.yaml"
CHECKPOINT_BAR = 0.05
RECOVERY_BAR_SECONDS = 1.0


@dataclass
class Clock:
    """Seconds spent inside some functions."""

    wall: float = 0.0
    cpu: float = 0.0
    calls: int = 0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return function(*args)
            finally:
                self.wall += time.perf_counter() - wall
                self.cpu += time.process_time() - cpu
                self.calls += 1

        return timed


@dataclass
class InMemory:
    """Checkpoints that are kept as they are."""

    found: dict[Path, Any] = field(default_factory=dict)

    def write(self, paths: Any, checkpoint: Any) -> float:
        self.found[paths.folder] = replace(checkpoint, params=dict(checkpoint.params))
        return 0.0

    def read(self, paths: Any) -> Any:
        return self.found.get(paths.folder)


@contextmanager
def checkpoints(write: Callable[..., float], read: Callable[..., Any]) -> Iterator[None]:
    with (
        patch("tuner.train.loop.member.write_checkpoint", write),
        patch("tuner.train.loop.member.read_checkpoint", read),
    ):
        yield


def sweep(num_trials: int) -> Clock:
    """One digits sweep; its time."""
    from tuner.spec.reader import read_sweep
    from tuner.sweep.options import RunOptions
    from tuner.sweep.run import StudyRun
    from tuner.sweep.stop import StopRequest
    from tuner.sweep.watcher import Watcher

    spec = read_sweep(SWEEP, overrides=[f"search.trials={num_trials}", "finalists=null"]).spec
    with tempfile.TemporaryDirectory(prefix="tuner-reliability-") as folder, patch.object(StudyRun, "_report"):
        options = RunOptions(results=Path(folder), engine="inline")
        clock = Clock()
        clock.around(StudyRun(spec, options, Watcher(), StopRequest()).run)()
        return clock


def measure_checkpoints(rounds: int, num_trials: int) -> None:
    from tuner.train.loop.checkpoint import read_checkpoint, write_checkpoint

    sweep(2)  # what is imported late is imported
    on: list[Clock] = []
    off: list[Clock] = []
    inside: list[Clock] = []
    for _ in range(rounds):
        clock = Clock()
        with checkpoints(clock.around(write_checkpoint), clock.around(read_checkpoint)):
            on.append(sweep(num_trials))
        inside.append(clock)
        memory = InMemory()
        with checkpoints(memory.write, memory.read):
            off.append(sweep(num_trials))
    shares = [i.wall / s.wall for i, s in zip(inside, on, strict=True)]
    print(f"checkpoints, {num_trials} trials, {rounds} rounds, {inside[0].calls} reads and writes in the first")
    _say("share of the sweep's wall time", shares, "{:.2%}", bar=CHECKPOINT_BAR)
    _say("share of its processor time", [i.cpu / s.cpu for i, s in zip(inside, on, strict=True)], "{:.2%}")
    _say("on disk over in memory, wall", [a.wall / b.wall for a, b in zip(on, off, strict=True)], "{:.3f}")
    _say("on disk over in memory, processor", [a.cpu / b.cpu for a, b in zip(on, off, strict=True)], "{:.3f}")


def measure_recovery(kills: int) -> None:
    from tuner.execute.devices import WorkerPlace
    from tuner.execute.local import LocalExecutor
    from tuner.paths import StudyPaths
    from tuner.records import TrialJob, TrialStarted
    from tuner.spec.reader import read_sweep

    spec = read_sweep(SWEEP, overrides=["training.epochs=100000", "training.early_stopping=null"]).spec
    seconds = []
    with tempfile.TemporaryDirectory(prefix="tuner-reliability-") as folder:
        paths = StudyPaths(Path(folder))
        executor = LocalExecutor(spec, paths, [WorkerPlace("cpu", 1, None)])
        for number in range(kills):
            params = {"learning_rate": 0.01, "batch_size": 256, "hidden_units": 32, "hidden_layers": 1}
            jobs = [
                TrialJob(trial=t, params=params, seed=t, to_epoch=100000, folder=str(paths.trial(t).folder))
                for t in (2 * number, 2 * number + 1)
            ]
            executor.submit(jobs)
            wanted = paths.trial(2 * number).checkpoint
            while not wanted.exists():
                executor.events(0.05)
            os.kill(executor.workers[0].process.pid, signal.SIGKILL)
            began = time.perf_counter()
            while not any(isinstance(e, TrialStarted) and e.from_epoch for e in executor.events(0.05)):
                pass
            seconds.append(time.perf_counter() - began)
            executor.close()
            executor = LocalExecutor(spec, paths, [WorkerPlace("cpu", 1, None)])
        executor.close()
    print(f"from kill -9 of a worker until its trials are in training again, {kills} times")
    _say("seconds", seconds, "{:.2f}", bar=RECOVERY_BAR_SECONDS)


def _say(name: str, values: list[float], form: str, *, bar: float | None = None) -> None:
    median, low, high = (form.format(v) for v in (statistics.median(values), min(values), max(values)))
    verdict = ""
    if bar is not None:
        verdict = f"   bar {form.format(bar)}: {'holds' if statistics.median(values) <= bar else 'MISSED'}"
    print(f"  {name:36} {median}  [{low}, {high}]{verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=7)
    args = parser.parse_args()
    print("load:", ", ".join(f"{load:.1f}" for load in os.getloadavg()), "on", os.cpu_count(), "cores")
    if args.kills:
        measure_recovery(args.kills)
    if args.rounds:
        measure_checkpoints(args.rounds, args.trials)


if __name__ == "__main__":
    set_numeric_environment(1)
    main()
