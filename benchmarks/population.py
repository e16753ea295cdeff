"""Population-based training against random search at equal epochs, and the speed of its rows.

    python benchmarks/population.py [--seeds 10] [--first-seed 0] [--members 16] [--epochs 40] [--interval 4]
                                    [--hidden-units 32] [--only quality|speed] [--json FILE]

Quality: a linear regression on correlated columns with noisy targets, by SGD in small batches, whose learning rate the
schedule leaves constant: a high rate learns fast and stays noisy, a low one comes late, and what wins is a decay. Both
search the same range of learning rates with as many trials, each trained for all epochs, and are judged by the best dev
loss of any epoch. `cosine` is the best of the same random search with half a cosine for the schedule: what a schedule
by hand would bring. Each seed has data of its own. The dev set is twice the training set: of a small one, the best of
some six hundred epochs is the luckiest, and a constant high rate, whose weights never rest, has most of that luck.

Speed: seconds of the processor in which a population trains, its comparisons, copies and checkpoints included, over
those of as many trials that train from end to end in one cohort, in turns; the median of the ratios. Of multi-layer
perceptrons on scikit-learn's digits. One thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from tuner.execute.inline import InlineExecutor
from tuner.paths import StudyPaths
from tuner.records import TrialRecord
from tuner.search.registry import open_strategy
from tuner.spec.defaults import build_space
from tuner.spec.model import (
    DataSpec,
    DimensionSpec,
    LimitsSpec,
    ModelSpec,
    ObjectiveSpec,
    PopulationSpec,
    SearchSpec,
    SplitSpec,
    SweepSpec,
    TrainingSpec,
)
from tuner.store.memory import MemoryStore
from tuner.sweep.loop import Sweep
from tuner.sweep.stop import StopRequest
from tuner.sweep.watcher import Watcher

NUM_EXAMPLES, NUM_COLUMNS = 8000, 60
SPLIT = SplitSpec(train=0.3, dev=0.6, test=0.1)
LEAST_SHARE = 1e-3
"""Of the variance of the first direction of the inputs, that of the last."""


def write_table(path: Path, *, seed: int) -> None:
    """A regression whose columns are correlated, so that some of what there is to learn is learnt slowly."""
    rng = np.random.default_rng(seed)
    scales = np.geomspace(1.0, LEAST_SHARE, NUM_COLUMNS) ** 0.5
    rotation, _ = np.linalg.qr(rng.standard_normal((NUM_COLUMNS, NUM_COLUMNS)))
    directions = rng.standard_normal((NUM_EXAMPLES, NUM_COLUMNS)) * scales
    signal = directions @ (rng.choice([-1.0, 1.0], NUM_COLUMNS) / scales) / NUM_COLUMNS**0.5
    table = np.column_stack([directions @ rotation, signal + rng.standard_normal(NUM_EXAMPLES)])
    names = [*(f"x{n}" for n in range(NUM_COLUMNS)), "y"]
    np.savetxt(path, table, delimiter=",", header=",".join(names), comments="")


def sweep_spec(
    strategy: str, schedule: str, *, table: Path | None, seed: int, members: int, epochs: int, interval: int,
    batch_size: int, hidden_units: int = 32,
) -> SweepSpec:  # fmt: skip
    """One of the sweeps that are compared; on the digits where there is no table."""
    data, model = DataSpec(source="sklearn/digits"), ModelSpec(kind="mlp", settings={"hidden_units": hidden_units})
    if table is not None:
        data, model = DataSpec(source=str(table), target="y", split=SPLIT), ModelSpec(kind="linear")
    population = PopulationSpec(interval=interval) if strategy == "population" else None
    return SweepSpec(
        study="population",
        data=data,
        model=model,
        objective=ObjectiveSpec(metric="loss"),
        space={"learning_rate": DimensionSpec(low=1e-3, high=0.1)},
        training=TrainingSpec(epochs=epochs, batch_size=batch_size, schedule=schedule, momentum=0.0),
        search=SearchSpec(trials=members, strategy=strategy, seed=seed, population=population),
    )


def trained(spec: SweepSpec) -> tuple[tuple[TrialRecord, ...], float]:
    """The records of a sweep that is trained in this process, and the processor's seconds that its training took."""
    with tempfile.TemporaryDirectory(prefix="population-") as folder:
        paths = StudyPaths(Path(folder).resolve())
        executor = InlineExecutor(spec, paths)
        direction = executor.facts.direction
        store = MemoryStore(direction=direction, seed=spec.search.seed)
        strategy = open_strategy(spec, build_space(spec), direction)
        sweep = Sweep(
            strategy, store, executor, folders=lambda number: paths.trial(number).folder,
            limits=LimitsSpec(), watcher=Watcher(), stop=StopRequest(),
        )  # fmt: skip
        began = time.process_time()
        sweep.run()
        return store.records(), time.process_time() - began


def best_loss(records: tuple[TrialRecord, ...]) -> float:
    """The best dev loss of all trials' epochs."""
    return min(record.value for record in records if record.value is not None)


def quality(args: argparse.Namespace, folder: Path) -> list[dict[str, float]]:
    """The best losses of each seed, and the epochs that they took."""
    found = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        row: dict[str, float] = {"seed": seed}
        table = folder / f"{seed}.csv"
        write_table(table, seed=seed)
        for name, strategy, schedule in (
            ("population", "population", "constant"),
            ("random", "random", "constant"),
            ("cosine", "random", "cosine"),
        ):
            records, seconds = trained(
                sweep_spec(
                    strategy, schedule, table=table, seed=seed, members=args.members, epochs=args.epochs,
                    interval=args.interval, batch_size=args.batch_size,
                )
            )  # fmt: skip
            row |= {name: best_loss(records), f"{name} epochs": sum(r.epochs for r in records), f"{name} s": seconds}
        print(" ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
        found.append(row)
    wins = sum(row["population"] < row["random"] for row in found)
    print(f"population better than random in {wins} of {len(found)} seeds")
    return found


def speed(args: argparse.Namespace) -> list[float]:
    """Ratios of the seconds of a population to those of trials that train from end to end."""
    ratios = []
    for seed in range(args.speed_runs):
        seconds = {
            strategy: trained(
                sweep_spec(
                    strategy, "constant", table=None, seed=seed, members=args.members, epochs=args.epochs,
                    interval=args.interval, batch_size=args.batch_size, hidden_units=args.hidden_units,
                )
            )[1]
            for strategy in (("population", "random") if seed % 2 else ("random", "population"))
        }  # fmt: skip
        ratios.append(seconds["population"] / seconds["random"])
        print(
            f"population {seconds['population']:.2f} s, random {seconds['random']:.2f} s: {ratios[-1]:.3f}", flush=True
        )
    print(f"median ratio {statistics.median(ratios):.3f}")
    return ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--members", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--interval", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--hidden-units", type=int, default=32, help="of the networks whose speed is measured")
    parser.add_argument("--speed-runs", type=int, default=9)
    parser.add_argument("--only", choices=("quality", "speed"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, object] = {}
    if args.only != "speed":
        with tempfile.TemporaryDirectory(prefix="population-") as folder:
            found["quality"] = quality(args, Path(folder))
    if args.only != "quality":
        found["speed"] = speed(args)
    if args.json is not None:
        args.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
