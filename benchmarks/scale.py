"""What a study of many trials costs the coordinator: the loop, the search, the store, and then its reports.

    python benchmarks/scale.py [--trials 2000,10000,50000] [--only loop,cluster,decision,commands] [--url DATABASE]

A database of `--url` on this machine is measured too: its processors' time, which the coordinator waits for.

No network is trained: trials follow a script, which says at once what ten epochs measure. Processor seconds, since the
machine may be busy, and memory:

- `loop`: for each trial of a whole study, in its first thousand and its last, with `random` and `priority`, the
  records in memory, in SQLite and in the database of `--url`; trials that take no time, for which `priority` uses no
  model;
- `cluster`: how busy the coordinator of 10, 100 and 1,000 workers is with trials of a minute and ten epochs, while all
  workers have one, and for how much of their time they wait for it (`simulated_cluster.py`);
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
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy

import numpy as np
from report_scale import SPACE, make_study, measure
from simulated_cluster import Clock, SimulatedCluster

from tuner.execute.executor import Executor
from tuner.execute.planner import FIRST_ROOM
from tuner.execute.scripted import ScriptedExecutor
from tuner.paths import StudyPaths
from tuner.records import Direction, EpochResult, Params, TrialRecord, TrialState
from tuner.search.registry import open_strategy
from tuner.search.strategy import Strategy
from tuner.spec.model import DataSpec, LimitsSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.store.book import RecordBook
from tuner.store.memory import MemoryStore
from tuner.store.optuna_store import open_store
from tuner.sweep.loop import Sweep
from tuner.sweep.stop import StopRequest
from tuner.sweep.told import Told
from tuner.sweep.watcher import Watcher
from tuner.trials import Trials

EPOCHS = 10
EPOCH_SECONDS = 6.0
"""Of trials on the simulated cluster."""
AT_ONCE = 8
"""Trials that are begun before the first has ended, in a loop."""
ROUNDS = 6
"""Trials of each worker on the simulated cluster, about; 500 all together at least."""
WINDOW, PLACES = 1000, (2, 5, 10, 20, 30, 40)
"""Trials that a figure is taken over; which of these figures are told at once."""
DECISIONS = 10
BEGAN = time.time()
COMMANDS = (["status"], ["report", "--top", "20"], ["report", "--format", "html"])


def accuracy(params: Params, epoch: int) -> float:
    """Better with the learning rate near .1, in next to no time."""
    return 0.95 - abs(float(params["learning_rate"]) - 0.1) - 0.5 / (1 + epoch)


def spec_of(name: str, *, trials: int) -> SweepSpec:
    search = SearchSpec(trials=trials, strategy=name)
    return SweepSpec(
        study="scale", data=DataSpec(source="made up"), training=TrainingSpec(epochs=EPOCHS), search=search
    )


def strategy_of(name: str, *, trials: int) -> Strategy:
    return open_strategy(spec_of(name, trials=trials), SPACE, Direction.MAXIMIZE)


@contextmanager
def opened(store: str, *, url: str | None = None) -> Iterator[tuple[RecordBook, StudyPaths]]:
    """A new study in `memory`, in `sqlite`, or on the server of a URL."""
    with tempfile.TemporaryDirectory() as folder:
        paths = StudyPaths(Path(folder) / "scale")
        if store == "memory":
            yield MemoryStore(), paths
            return
        where = url if store == "server" else None
        study = f"scale {os.getpid()}"
        with open_store(
            paths, study=study, direction=Direction.MAXIMIZE, metric="accuracy", space=SPACE, url=where
        ) as kept:
            yield kept, paths


def server_seconds(url: str | None) -> float:
    """Processor seconds of the processes that a database server on this machine has started for this one."""
    if url is None:
        return 0.0
    import psycopg

    with psycopg.connect(url) as connection:
        ours = "client_port IS NOT NULL AND pid <> pg_backend_pid() AND backend_start > to_timestamp(%s)"
        rows = connection.execute(f"SELECT pid FROM pg_stat_activity WHERE {ours}".encode(), [BEGAN]).fetchall()
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for (pid,) in rows]
    return sum(int(ticks) for stat in stats for ticks in stat[11:13]) / os.sysconf("SC_CLK_TCK")


class Windows(Watcher):
    """Processor seconds at every thousandth trial that was started, and at the last."""

    def __init__(self) -> None:
        self.at = [(0, time.process_time())]
        self._started = 0

    def started(self, records: Sequence[TrialRecord]) -> None:
        for record in records:
            self._started = max(self._started, record.number + 1)
        if self._started - self.at[-1][0] >= WINDOW:
            self.at.append((self._started, time.process_time()))
            if len(self.at) - 1 in PLACES:
                print(f"{self.per_trial(len(self.at) - 1):.2f} ms at {self._started}, {peak_mb():.0f} MB", flush=True)

    def per_trial(self, index: int) -> float:
        """Milliseconds in one window."""
        (before, began), (after, ended) = self.at[index - 1 : index + 1] if index > 0 else self.at[-2:]
        return 1e3 * (ended - began) / (after - before)


def loop(name: str, store: str, *, trials: int, url: str | None) -> None:
    """A study from its first trial to its last."""
    windows, url = Windows(), url if store == "server" else None
    with opened(store, url=url) as (kept, paths):
        sweep(name, kept, ScriptedExecutor(accuracy, epochs=EPOCHS, width=AT_ONCE), paths, windows, trials=trials)
        began, ended = windows.at[0][1], time.process_time()
        epochs = sum(record.epochs for record in kept.records())
        server = server_seconds(url)
    each = f"{windows.per_trial(1):5.2f} ms each at first, {windows.per_trial(-1):5.2f} at last"
    each = f"{each} (server {1e3 * server / trials:.2f})"
    print(
        f"{name:9} {trials:6} trials, {store}: {each}; "
        f"{epochs / (ended - began):6.0f} epochs a second, {peak_mb():5.0f} MB",
        flush=True,
    )


def sweep(name: str, kept: RecordBook, executor: Executor, paths: StudyPaths, watcher: Watcher, *, trials: int) -> None:
    with closing(Told(paths.told)) as told:
        Sweep(
            strategy_of(name, trials=trials),
            kept,
            executor,
            folders=lambda number: paths.trial(number).folder,
            limits=LimitsSpec(),
            watcher=watcher,
            stop=StopRequest(),
            told=told,
        ).run()


class Steady(Watcher):
    """What the coordinator and its workers did from one trial's begin to another's."""

    def __init__(self, cluster: SimulatedCluster, *, begin: int, end: int) -> None:
        self._cluster = cluster
        self._at = [begin, end]
        self.seen: list[tuple[float, float, float]] = []

    def started(self, records: Sequence[TrialRecord]) -> None:
        while self._at and records[-1].number + 1 >= self._at[0]:
            del self._at[0]
            clock = self._cluster.clock
            self.seen.append((clock.busy, clock(), self._cluster.idle))


def cluster(name: str, store: str, *, workers: int, trials: int, url: str | None) -> None:
    """A study on workers that train a minute each."""
    clock, begin = Clock(), FIRST_ROOM * workers + workers // 10  # behind what is begun before one has ended
    url = url if store == "server" else None
    with opened(store, url=url) as (kept, paths):
        simulated = SimulatedCluster(
            spec_of(name, trials=trials), paths, accuracy, workers=workers, epoch_seconds=EPOCH_SECONDS, clock=clock
        )
        assert simulated.facts
        steady = Steady(simulated, begin=begin, end=trials)
        sweep(name, kept, simulated, paths, steady, trials=trials)
        server = server_seconds(url)
    before, after = steady.seen
    busy, seconds, idle = (late - early for early, late in zip(before, after, strict=True))
    each = 1e3 * busy / (trials - begin)
    print(
        f"{name:9} {workers:4} workers, {trials:6} trials of a minute, {store}: busy {busy / seconds:6.1%}, "
        f"{each:5.1f} ms a trial (server {1e3 * server / trials:.1f}); workers wait {idle / seconds / workers:6.1%}; "
        f"{EPOCHS * (trials - begin) / busy:6.0f} epochs a busy second, {peak_mb():5.0f} MB",
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
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", default="2000,10000,50000")
    parser.add_argument("--workers", default="10,100,1000")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="trials of each worker on the simulated cluster")
    parser.add_argument("--only", default="loop,cluster,decision,commands")
    parser.add_argument("--store", default="memory,sqlite")
    parser.add_argument("--url", help="of a database server, for the store `server`")
    parser.add_argument("--each", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [int(size) for size in options.trials.split(",")]
    if options.each:
        what, name, store, size, workers = options.each.split("/")
        if what == "loop":
            loop(name, store, trials=int(size), url=options.url)
        else:
            cluster(name, store, workers=int(workers), trials=int(size), url=options.url)
        return
    stores = [*options.store.split(","), *(["server"] if options.url else [])]
    kinds = list(product(stores, ("random", "priority")))
    runs = [("loop", name, store, str(size), "") for size, (store, name) in product(sizes, kinds)]
    for workers, (store, name) in product(options.workers.split(","), kinds):
        if store != "memory":
            runs.append(("cluster", name, store, str(max(500, options.rounds * int(workers))), workers))
    for run in runs:  # each in a process of its own, whose memory is its own
        if run[0] in options.only:
            more = ["--url", options.url] if options.url else []
            subprocess.run([sys.executable, __file__, "--each", "/".join(run), *more], check=True)
    if "decision" in options.only:
        for size, batch in product((100, 1000, 10_000, 50_000), (1, 100)):
            decision(size, batch=batch)
    if "commands" in options.only:
        for size in sizes:
            commands(size)


if __name__ == "__main__":
    main()
