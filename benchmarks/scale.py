"""What a study of many trials costs the coordinator: the loop, the search, the store, and then its reports.

    python benchmarks/scale.py [--trials 2000,10000,50000] [--workers 8,1000] [--only loop,decision,commands]

No network is trained: trials follow a script, which says at once what ten epochs measure. Processor seconds, since the
machine may be busy, and memory:

- `loop`: for each trial of a whole study, in its first thousand and its last, with `random` and `priority`, the
  records in memory and in SQLite; trials that take no time, for which `priority` uses no model;
- `decision`: of `priority` with its full model, as for trials that take minutes, after so many trials, one at a time
  and in batches of 100, as for many workers;
- `commands`: `tuner status`, `tuner report` and its page for so many trials of 20 epochs.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy

import numpy as np
from report_scale import SPACE, make_study, measure

from tuner.execute.scripted import ScriptedExecutor
from tuner.paths import StudyPaths
from tuner.records import Direction, EpochResult, Params, TrialRecord, TrialState
from tuner.search.registry import open_strategy
from tuner.search.strategy import Strategy
from tuner.spec.model import DataSpec, LimitsSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.store.memory import MemoryStore
from tuner.store.optuna_store import open_store
from tuner.sweep.loop import Sweep
from tuner.sweep.stop import StopRequest
from tuner.sweep.watcher import Watcher
from tuner.trials import Trials

EPOCHS = 10
WINDOW = 1000
"""Trials that a figure is taken over."""
DECISIONS = 10
COMMANDS = (["status"], ["report", "--top", "20"], ["report", "--format", "html"])


def accuracy(params: Params, epoch: int) -> float:
    """Better with the learning rate near .1, in next to no time."""
    return 0.95 - abs(float(params["learning_rate"]) - 0.1) - 0.5 / (1 + epoch)


def strategy_of(name: str, *, trials: int) -> Strategy:
    search = SearchSpec(trials=trials, strategy=name)
    spec = SweepSpec(
        study="scale", data=DataSpec(source="made up"), training=TrainingSpec(epochs=EPOCHS), search=search
    )
    return open_strategy(spec, SPACE, Direction.MAXIMIZE)


class Clock(Watcher):
    """Processor seconds at every thousandth trial that was started, and at the last."""

    def __init__(self) -> None:
        self.at = [(0, time.process_time())]
        self._started = 0

    def started(self, records: Sequence[TrialRecord]) -> None:
        for record in records:
            self._started = max(self._started, record.number + 1)
        if self._started - self.at[-1][0] >= WINDOW:
            self.at.append((self._started, time.process_time()))

    def per_trial(self, index: int) -> float:
        """Milliseconds in one window."""
        (before, began), (after, ended) = self.at[index - 1 : index + 1] if index > 0 else self.at[-2:]
        return 1e3 * (ended - began) / (after - before)


def loop(name: str, *, trials: int, workers: int, in_sqlite: bool) -> None:
    """A study from its first trial to its last."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        paths = StudyPaths(Path(folder) / "scale")
        with closing(
            open_store(paths, study="scale", direction=Direction.MAXIMIZE, metric="accuracy", space=SPACE)
            if in_sqlite
            else MemoryStore()
        ) as kept:
            Sweep(
                strategy_of(name, trials=trials),
                kept,
                ScriptedExecutor(accuracy, epochs=EPOCHS, width=workers),
                folders=lambda number: paths.trial(number).folder,
                limits=LimitsSpec(),
                watcher=clock,
                stop=StopRequest(),
            ).run()
            epochs = sum(record.epochs for record in kept.records())
            began, ended = clock.at[0][1], time.process_time()
    store = "SQLite" if in_sqlite else "memory"
    each = f"{clock.per_trial(1):5.2f} ms each at first, {clock.per_trial(-1):5.2f} at last"
    print(
        f"{name:9} {trials:6} trials, {workers:4} workers, {store}: {each}; "
        f"{epochs / (ended - began):6.0f} epochs a second, {peak_mb():5.0f} MB",
        flush=True,
    )


def decision(trials: int, *, batch: int) -> None:
    """Of `priority`, for so many new trials at once, where trials are worth a full model."""
    rng = np.random.default_rng(0)
    records = Trials([ended(n, rng) for n in range(trials)])
    strategy = strategy_of("priority", trials=2 * trials + DECISIONS * batch)
    seconds = []
    number = trials
    for _ in range(DECISIONS):
        began = time.process_time()
        assert strategy.decide(records, batch)
        seconds.append(time.process_time() - began)
        for _ in range(batch):
            records.put(ended(number, rng))
            number += 1
    first, others = 1e3 * seconds[0], 1e3 * float(np.median(seconds[1:]))
    print(
        f"priority, {batch:3} decided at once after {trials:6} trials: {others:7.1f} ms; "
        f"the first of a run {first:7.1f} ms",
        flush=True,
    )


def ended(number: int, rng: np.random.Generator) -> TrialRecord:
    """A trial that took ten minutes; two of three paused at the first rung, as long as few have been trained."""
    params = SPACE.from_units(list(rng.random(len(SPACE))))
    epochs = EPOCHS if number > 150 or number % 3 == 0 else 1
    value = accuracy(params, epochs)
    result = EpochResult(
        epoch=epochs, train_loss=1 - value, dev_loss=1 - value, train_metric=value, dev_metric=value, learning_rate=0.1,
        seconds=60.0 * epochs,
    )  # fmt: skip
    state = TrialState.COMPLETE if epochs == EPOCHS else TrialState.PAUSED
    record = TrialRecord(number=number, params=params, seed=1, state=state, tier="all", to_epoch=epochs)
    return replace(record, best=result, last=result, rungs=((epochs, value),))


def commands(trials: int) -> None:
    """What looks at a study from outside."""
    with tempfile.TemporaryDirectory() as folder:
        make_study(StudyPaths(Path(folder) / "large"), trials=trials, rungs=20)
        for command, *options in COMMANDS:
            print(f"{trials:6} trials, ", end="", flush=True)
            measure([command, "large", "--results", folder, *options])


def peak_mb() -> float:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure and print; each loop in a process of its own, whose memory is its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", default="2000,10000,50000")
    parser.add_argument("--workers", default="8")
    parser.add_argument("--only", default="loop,decision,commands")
    parser.add_argument("--store", default="", help="memory or sqlite; both by default")
    parser.add_argument("--loop", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(size) for size in options.trials.split(",")]
    if options.loop:
        name, store = options.loop.split("/")
        loop(name, trials=sizes[0], workers=int(options.workers), in_sqlite=store == "sqlite")
        return
    if "loop" in options.only:
        kinds = ("random/memory", "priority/memory", "random/sqlite", "priority/sqlite")
        for size, workers, kind in product(sizes, options.workers.split(","), kinds):
            if options.store in kind:
                arguments = ["--loop", kind, "--trials", str(size), "--workers", workers]
                subprocess.run([sys.executable, __file__, *arguments], check=True)
    if "decision" in options.only:
        for size, batch in product((100, 1000, 10_000, 50_000), (1, 100)):
            decision(size, batch=batch)
    if "commands" in options.only:
        for size in sizes:
            commands(size)


if __name__ == "__main__":
    main()
