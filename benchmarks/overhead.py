"""What tuner costs besides training: start-up of its commands, and the coordinator's time for each trial.

    python benchmarks/overhead.py [--trials 64] [--rounds 7] [--json FILE]

Start-up is the whole process, `python -m tuner --help` and `status`. The coordinator is the sweep loop with a real
store and an executor that answers at once: each trial sends 20 epochs one by one, stops at two rungs and ends. Its
time is what a sweep of such trials adds to training; the store's share is what is left after taking away the same
loop over a store in memory. `optuna` is plain Optuna's ask, report and tell of the same trials on its own SQLite.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuner.paths import StudyPaths
from tuner.records import (
    Direction,
    EpochResult,
    EpochsFinished,
    Params,
    TrialEvent,
    TrialFinished,
    TrialJob,
    TrialPaused,
    TrialRecord,
    TrialStarted,
    TrialState,
)
from tuner.search.strategy import Advance, Decision, Start
from tuner.spec.model import LimitsSpec
from tuner.spec.space import Dimension, Space
from tuner.store.store import StudyStore

EPOCHS = 20
RUNGS = (4, 10, EPOCHS)
WIDTH = 16
"""Trials under way at once."""

SPACE = Space(
    (
        Dimension(name="learning_rate", kind="float", tier=1, default=0.01, low=1e-4, high=1.0, scale="log"),
        Dimension(name="momentum", kind="float", tier=2, default=0.9, low=0.5, high=0.99, scale="log1m"),
        Dimension(name="batch_size", kind="categorical", tier=2, default=64, choices=(32, 64, 128, 256)),
        Dimension(name="hidden_units", kind="int", tier=2, default=64, low=16, high=256, scale="log"),
        Dimension(name="hidden_layers", kind="int", tier=3, default=1, low=1, high=4),
        Dimension(name="lr_decay", kind="float", tier=3, default=0.0, low=0.0, high=0.3),
        Dimension(name="dropout", kind="float", tier=4, default=0.0, low=0.0, high=0.6),
        Dimension(name="weight_decay", kind="float", tier=4, default=1e-4, low=1e-6, high=1e-1, scale="log"),
    )
)


class Ladder:
    """A strategy that starts so many trials and takes each to every rung."""

    def __init__(self, num_trials: int) -> None:
        self._num_trials = num_trials

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        waiting = [r for r in records if r.state is TrialState.PAUSED]
        steps: list[Decision] = [
            Advance(trial=r.number, to_epoch=next(rung for rung in RUNGS if rung > r.epochs)) for r in waiting[:room]
        ]
        new = range(len(records), min(self._num_trials, len(records) + room - len(steps)))
        return steps + [Start(params=self._params(number), to_epoch=RUNGS[0], tier="all") for number in new]

    def explain(self) -> tuple[str, ...]:
        return ()

    def _params(self, number: int) -> Params:
        return SPACE.from_units([(number * 0.618 + place * 0.37) % 1.0 for place in range(len(SPACE))])


class InstantExecutor:
    """Answers every job at once, with one event for each epoch."""

    facts: Any = None

    def __init__(self) -> None:
        self._jobs: deque[TrialJob] = deque()

    def submit(self, jobs: Sequence[TrialJob]) -> None:
        self._jobs.extend(jobs)

    def room(self) -> int:
        return WIDTH - len(self._jobs)

    def events(self, timeout_seconds: float) -> list[TrialEvent]:
        return self._train(self._jobs.popleft()) if self._jobs else []

    def let_go(self, folders: Sequence[str]) -> None:
        pass

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _train(self, job: TrialJob) -> list[TrialEvent]:
        before = max((rung for rung in RUNGS if rung < job.to_epoch), default=0)
        began = TrialStarted(
            trial=job.trial,
            worker="worker 0",
            device="cpu",
            path="stacked",
            cohort_width=WIDTH,
            from_epoch=before,
            num_parameters=9000,
        )
        epochs = [EpochsFinished(trial=job.trial, results=(_epoch(e),)) for e in range(before + 1, job.to_epoch + 1)]
        done = job.to_epoch == EPOCHS
        end = TrialFinished(trial=job.trial, reason="all epochs", facts={"gradient_norm": 0.5}) if done else None
        return [began, *epochs, end or TrialPaused(trial=job.trial, epoch=job.to_epoch)]


def _epoch(epoch: int) -> EpochResult:
    return EpochResult(
        epoch=epoch,
        train_loss=1 / epoch,
        dev_loss=1.1 / epoch,
        train_metric=0.5 + epoch / 50,
        dev_metric=0.5 + epoch / 55,
        learning_rate=0.1 / epoch,
        seconds=0.01 * epoch,
    )


@dataclass(frozen=True)
class Cost:
    """Seconds of one round: by the clock, and of the processor."""

    wall: float
    cpu: float


def timed(work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def sweep(store: StudyStore, num_trials: int) -> None:
    """The sweep loop over a store, until all trials are complete and stored."""
    from tuner.sweep.loop import StopRequest, Sweep
    from tuner.sweep.watcher import Watcher

    loop = Sweep(
        Ladder(num_trials),
        store,
        InstantExecutor(),
        folders=lambda number: Path(f"{number:04d}"),
        limits=LimitsSpec(),
        watcher=Watcher(),
        stop=StopRequest(),
    )
    assert loop.run()
    assert [r.state for r in store.records()] == [TrialState.COMPLETE] * num_trials
    store.close()


def with_store(folder: Path, url: str | None, num_trials: int) -> Cost:
    from tuner.store.optuna_store import open_store

    store = open_store(
        StudyPaths(folder), study="bench", direction=Direction.MAXIMIZE, metric="accuracy", space=SPACE, url=url
    )
    return timed(lambda: sweep(store, num_trials))


def in_memory(num_trials: int) -> Cost:
    from tuner.store.memory import MemoryStore

    store = MemoryStore(direction=Direction.MAXIMIZE)
    return timed(lambda: sweep(store, num_trials))


def plain_optuna(folder: Path, num_trials: int) -> Cost:
    """The same trials by ask, report and tell; a random sampler, so that only the storage counts."""
    import optuna

    from tuner.store.distributions import StoredSpace

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = StoredSpace(SPACE)
    distributions = {d.name: space.distribution(d.name, d.default) for d in SPACE}
    folder.mkdir(parents=True)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=f"sqlite:///{folder}/study.db", direction="maximize", sampler=sampler)

    def work() -> None:
        for _ in range(num_trials):
            trial = study.ask(distributions)
            for epoch in range(1, EPOCHS + 1):
                trial.report(_epoch(epoch).dev_metric, epoch)
            study.tell(trial, _epoch(EPOCHS).dev_metric)

    return timed(work)


def command_line(arguments: Sequence[str]) -> Cost:
    """A whole process."""
    command = [sys.executable, "-m", "tuner", *arguments]
    return timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))


def say(name: str, milliseconds: Sequence[float], *, bar: float | None = None, note: str = "") -> dict[str, float]:
    """Print median and range; returns them."""
    median, low, high = statistics.median(milliseconds), min(milliseconds), max(milliseconds)
    verdict = "" if bar is None else f"   bar {bar:g} ms: {'holds' if median <= bar else 'MISSED'}"
    print(f"  {name:28} {median:8.2f} ms  [{low:.2f}, {high:.2f}]{verdict}{note}")
    return {"median_ms": median, "low_ms": low, "high_ms": high}


def measure_start_up(folder: Path, rounds: int) -> dict[str, Any]:
    paths = StudyPaths(folder / "started")
    with_store(paths.folder, None, 64)
    status = ["status", "bench", "--store", str(paths.database), "--results", str(folder)]
    commands = {"tuner --help": ["--help"], "tuner status, 64 trials": status}
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, arguments in commands.items():
            costs[name].append(command_line(arguments))
    print("start-up of the whole process")
    return {name: say(name, [1e3 * c.wall for c in found], bar=300) for name, found in costs.items()}


def measure_coordinator(folder: Path, rounds: int, num_trials: int, urls: Sequence[str]) -> dict[str, Any]:
    contestants: dict[str, Callable[[int], Cost]] = {
        "loop, records in memory": lambda number: in_memory(num_trials),
        "loop, SQLite": lambda number: with_store(folder / f"ours-{number}", None, num_trials),
        "plain Optuna, SQLite": lambda number: plain_optuna(folder / f"plain-{number}", num_trials),
    }
    for url in urls:
        contestants[f"loop, {url.split(':')[0]}"] = lambda number, url=url: _on_server(folder, url, number, num_trials)
    costs: dict[str, list[Cost]] = {name: [] for name in contestants}
    for number in range(rounds):
        for name, work in contestants.items():
            costs[name].append(work(number))
    print(f"coordinator, for each of {num_trials} trials with {EPOCHS} epochs and {len(RUNGS)} rungs")
    found: dict[str, Any] = {}
    for name, each in costs.items():
        bar = 100 if name.startswith("loop") else None
        found[name] = say(name, [1e3 * c.wall / num_trials for c in each], bar=bar)
        found[f"{name}, cpu"] = say("   of the processor", [1e3 * c.cpu / num_trials for c in each])
    memory = statistics.median(c.cpu for c in costs["loop, records in memory"])
    share = [1e3 * (c.cpu - memory) / num_trials for c in costs["loop, SQLite"]]
    found["store"] = say("the store's share (processor)", share, bar=5)
    return found


def _on_server(folder: Path, url: str, number: int, num_trials: int) -> Cost:
    from tuner.store.optuna_store import open_store

    open_store(
        StudyPaths(folder),
        study="bench",
        direction=Direction.MAXIMIZE,
        metric="accuracy",
        space=SPACE,
        url=url,
        fresh=True,
    ).close()
    return with_store(folder, url, num_trials)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--store", action="append", default=[], metavar="URL", help="measure this database as well")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tuner-overhead-") as name:
        folder = Path(name)
        found = {
            "start_up": measure_start_up(folder, args.rounds),
            "coordinator": measure_coordinator(folder, args.rounds, args.trials, args.store),
        }
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
