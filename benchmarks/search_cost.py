"""What the search itself costs: its time for each new trial, and its share of a real sweep.

    python benchmarks/search_cost.py [--strategies priority,tpe] [--trials 1000] [--sweep sweeps/digits.yaml]

First a long study of made-up training (eight hyperparameters, 27 epochs of one second each on the trials' own clocks,
which pass at once): processor seconds for each trial started, in the whole study and in its last tenth, one trial at
a time, eight and thirty-two at once. Then a sweep file, run as `tuner run` does with its trials trained for real: the
strategy's processor seconds as a share of the training and evaluation seconds of all trials together.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy

from timed import Timed

import tuner.search.registry as registry
from tuner.execute.scripted import ScriptedExecutor
from tuner.paths import StudyPaths
from tuner.records import Direction, EpochsFinished, Params, TrialEvent
from tuner.search.registry import open_strategy
from tuner.spec.defaults import build_space
from tuner.spec.model import DataSpec, LimitsSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.spec.reader import read_sweep
from tuner.store.memory import MemoryStore
from tuner.store.reader import read_study
from tuner.sweep.loop import Sweep
from tuner.sweep.options import RunOptions
from tuner.sweep.run import run_sweep
from tuner.sweep.stop import StopRequest
from tuner.sweep.watcher import Watcher

EPOCHS = 27
SECONDS_PER_EPOCH = 1.0
WIDTHS = (1, 8, 32)


SPEC = SweepSpec(study="cost", data=DataSpec(source="made up"), training=TrainingSpec(epochs=EPOCHS))
SPACE = build_space(SPEC)


def accuracy(params: Params, epoch: int) -> float:
    """Smooth, with an optimum inside the space."""
    distances = [(u - 0.3 - 0.05 * j) ** 2 for j, u in enumerate(SPACE.to_units(params))]
    return float((0.95 - 0.3 * sum(distances) / len(distances)) * (1 - 0.5 ** (1 + epoch / 4)))


class SlowExecutor(ScriptedExecutor):
    """Its epochs say that they took a second."""

    def events(self, timeout_seconds: float) -> list[TrialEvent]:
        return [_slow(event) for event in super().events(timeout_seconds)]


def _slow(event: TrialEvent) -> TrialEvent:
    if not isinstance(event, EpochsFinished):
        return event
    return replace(event, results=tuple(replace(r, seconds=SECONDS_PER_EPOCH * r.epoch) for r in event.results))


def long_study(name: str, *, trials: int, width: int) -> tuple[float, float]:
    """Processor seconds for each trial started: in the whole study, and in its last tenth."""
    strategy_name, _, pruner = name.partition("+")
    search = SearchSpec(trials=trials, strategy=strategy_name, pruner=pruner or None, regularisation="always")
    spec = SPEC.model_copy(update={"search": search})
    strategy = Timed(open_strategy(spec, SPACE, Direction.MAXIMIZE))
    with tempfile.TemporaryDirectory() as folder:
        Sweep(
            strategy,
            MemoryStore(),
            SlowExecutor(accuracy, epochs=EPOCHS, width=width),
            folders=lambda number: Path(folder) / f"{number}",
            limits=LimitsSpec(),
            watcher=Watcher(),
            stop=StopRequest(),
        ).run()
    _, seconds, started = strategy.history[-1]
    before, begun = next((s, n) for _, s, n in reversed(strategy.history) if n <= 0.9 * started)
    return seconds / started, (seconds - before) / max(1, started - begun)


def share_of_sweep(path: Path, strategy: str) -> tuple[float, float, int]:
    """Seconds in the strategy, seconds of training, and epochs, of a real sweep."""
    timed: list[Timed] = []
    opened: Callable[..., object] = registry.open_strategy

    def open_timed(*args: object, **options: object) -> Timed:
        timed.append(Timed(opened(*args, **options)))  # type: ignore[arg-type]
        return timed[-1]

    spec = read_sweep(path).spec
    search = spec.search.model_copy(update={"strategy": strategy})
    spec = spec.model_copy(update={"search": search, "finalists": None})
    registry.open_strategy = open_timed  # type: ignore[assignment]
    try:
        with tempfile.TemporaryDirectory() as folder:
            run_sweep(spec, RunOptions(results=Path(folder)), Watcher()).finish()
            records = read_study(StudyPaths(Path(folder) / spec.study), study=spec.study).records
    finally:
        registry.open_strategy = opened  # type: ignore[assignment]
    return timed[0].seconds, sum(r.seconds for r in records), sum(r.epochs for r in records)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", default="priority,tpe")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--sweep", type=Path, help="a sweep file to run for real")
    given = parser.parse_args()
    for name in given.strategies.split(","):
        for width in WIDTHS:
            whole, late = long_study(name, trials=given.trials, width=width)
            print(
                f"{name}, {given.trials} trials, {width} at once: {1e3 * whole:.1f} ms for each trial, "
                f"{1e3 * late:.1f} ms in the last tenth",
                flush=True,
            )
    if given.sweep is not None:
        for name in given.strategies.split(","):
            search, training, epochs = share_of_sweep(given.sweep, name)
            print(
                f"{given.sweep.name} with {name}: {search:.2f} s in the strategy, {training:.2f} s of training "
                f"({epochs} epochs): {search / training:.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
