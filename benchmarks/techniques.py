"""Techniques on cases where they should help: each on and off, on the same seeds, with intervals.

    python benchmarks/techniques.py [--seeds 20] [CASE ...]

Each row of the output is the dev metric after the last epoch, averaged over seeds (initial weights, order of the
examples, and what the technique draws), and the paired difference from the case's first row with its 95 % interval.
The learning rate of each row is the best of the case's rates for that row, on seeds of their own, so that no technique
is judged at the rate of another.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

from tuner.data.load import load_training_data
from tuner.execute.inline import InlineExecutor
from tuner.execute.numeric import set_numeric_environment
from tuner.paths import StudyPaths
from tuner.records import Direction, EpochsFinished, TrialJob
from tuner.search.registry import open_strategy
from tuner.spec.defaults import build_space
from tuner.spec.model import LimitsSpec, SweepSpec
from tuner.store.memory import MemoryStore
from tuner.sweep.loop import StopRequest, Sweep
from tuner.sweep.watcher import Watcher
from tuner.train.loop.cohort import Cohort
from tuner.train.task import Task

RATES = (0.01, 0.03, 0.1)
RATE_SEEDS = 4
FIRST_OTHER_SEED = 1000
FEW = {"source": "sklearn/digits", "split": {"train": 0.1, "dev": 0.5, "test": 0.4}}
DIGITS = {"source": "sklearn/digits", "split": {"train": 0.6, "dev": 0.2, "test": 0.2}}


@dataclass(frozen=True, kw_only=True)
class Case:
    """Ways to train one network on the same data; the first is what the others are compared with."""

    data: Mapping[str, Any]
    model: Mapping[str, Any]
    training: Mapping[str, Any]
    ways: Mapping[str, Mapping[str, Any]]
    """Keys of `training:`, or of the model where they begin with `model.`."""
    rates: Sequence[float] = field(default=RATES)


MLP = {"kind": "mlp", "hidden_units": 128}
CASES: Mapping[str, Case] = {
    "few digits, MLP": Case(
        data=FEW,
        model=MLP,
        training={"epochs": 40, "batch_size": 32},
        ways={
            "nothing": {},
            "augment 0.3": {"augment": 0.3},
            "mixup 0.2": {"mixup": 0.2},
            "label_smoothing 0.1": {"label_smoothing": 0.1},
            "dropout 0.3": {"dropout": 0.3},
            "ema": {"averaging": "ema"},
            "swa": {"averaging": "swa"},
        },
    ),
    "few digits, CNN": Case(
        data=FEW,
        model={"kind": "cnn", "channels": 8},
        training={"epochs": 40, "batch_size": 32},
        ways={"nothing": {}, "augment 0.3": {"augment": 0.3}},
    ),
    "deep MLP": Case(
        data=DIGITS,
        model={"kind": "mlp", "hidden_units": 64, "hidden_layers": 10},
        training={"epochs": 15, "batch_size": 64},
        ways={"nothing": {}, "batch norm": {"model.norm": "batch"}},
    ),
    "batch norm, small batches": Case(
        data=FEW,
        model=MLP,
        training={"epochs": 40},
        ways={
            "none, batch 64": {"batch_size": 64},
            "batch norm, batch 64": {"batch_size": 64, "model.norm": "batch"},
            "batch norm, batch 8": {"batch_size": 8, "model.norm": "batch"},
        },
    ),
    "deep sigmoid MLP": Case(
        data=DIGITS,
        model={"kind": "mlp", "hidden_units": 64, "hidden_layers": 4, "activation": "sigmoid"},
        training={"epochs": 15, "batch_size": 64},
        ways={"nothing": {}, "batch norm": {"model.norm": "batch"}},
    ),
    "batch size": Case(
        data=DIGITS,
        model={"kind": "mlp"},
        training={"epochs": 30},
        ways={"64": {"batch_size": 64}, "full": {"batch_size": "full"}},
        rates=(0.03, 0.1, 0.3, 1.0),
    ),
    "batch size, ten times as long": Case(
        data=DIGITS,
        model={"kind": "mlp"},
        training={"epochs": 300},
        ways={"64": {"batch_size": 64}, "full": {"batch_size": "full"}},
        rates=(0.03, 0.1, 0.3, 1.0),
    ),
    "batch size by powers of two": Case(
        data=DIGITS,
        model={"kind": "mlp"},
        training={"epochs": 30},
        ways={str(size): {"batch_size": size} for size in (64, 32, 128, 256, 512)},
        rates=(0.01, 0.03, 0.1, 0.3, 1.0),
    ),
}
DAMPENINGS: Mapping[str, Mapping[str, Any]] = {"0": {}, "auto": {"dampening": "auto"}}
ARCHITECTURES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "mlp alone": ({"kind": "mlp"}, {}),
    "cnn alone": ({"kind": "cnn"}, {}),
    "mlp, then cnn": ({"choices": ["mlp", "cnn"]}, {}),
    "cnn, then mlp": ({"choices": ["cnn", "mlp"]}, {}),
    "both from the start": ({"choices": ["mlp", "cnn"]}, {"regularisation": "always"}),
}
"""The model and keys of the search."""


def measure(case: Case, way: Mapping[str, Any], rate: float, *, seeds: range, folder: Path) -> np.ndarray:
    """Dev and train metric after the last epoch for each seed, shape (2, seeds); 0 for those that diverged."""
    own = {k.removeprefix("model."): v for k, v in way.items() if k.startswith("model.")}
    training = {**case.training, **{k: v for k, v in way.items() if not k.startswith("model.")}, "learning_rate": rate}
    spec = SweepSpec.model_validate(
        {"study": "benchmark", "data": case.data, "model": {**case.model, **own}, "training": training}
    )
    task = Task(spec, load_training_data(spec), torch.device("cpu"))
    epochs = spec.training.epochs
    jobs = [
        TrialJob(trial=n, params={}, seed=seed, to_epoch=epochs, folder=str(folder / f"{time.monotonic_ns()}-{n}"))
        for n, seed in enumerate(seeds)
    ]
    last = np.zeros((2, len(seeds)))
    for events in Cohort(task, jobs, worker="benchmark").epochs():
        for event in events:
            if isinstance(event, EpochsFinished) and event.results[-1].epoch == epochs:
                last[:, event.trial] = event.results[-1].dev_metric, event.results[-1].train_metric
    return last


def best_of_rates(case: Case, way: Mapping[str, Any], *, seeds: int, folder: Path) -> tuple[float, np.ndarray]:
    """The best learning rate, chosen on seeds that are used for nothing else, and the metrics at it."""
    others = range(FIRST_OTHER_SEED, FIRST_OTHER_SEED + RATE_SEEDS)
    found = {rate: measure(case, way, rate, seeds=others, folder=folder)[0].mean() for rate in case.rates}
    rate = max(found, key=lambda r: float(found[r]))
    return rate, measure(case, way, rate, seeds=range(seeds), folder=folder)


def searched(spec: SweepSpec, *, folder: Path) -> float:
    """The dev accuracy of the best trial that a search finds."""
    strategy_of = open_strategy(spec, build_space(spec), Direction.MAXIMIZE)
    executor, store = InlineExecutor(spec, StudyPaths(folder)), MemoryStore()
    Sweep(
        strategy_of, store, executor, folders=lambda number: folder / f"{spec.search.seed}-{number}",
        limits=LimitsSpec(), watcher=Watcher(), stop=StopRequest(), trial_seed=spec.search.seed,
    ).run()  # fmt: skip
    return max(record.value for record in store.records() if record.value is not None)


def compare_dampenings(seeds: int) -> None:
    """Whether a search gains by momentum that does not lengthen steps: the tier of momentum then keeps the rate's."""
    print("\n### dampening\n\n| strategy | `dampening` | dev accuracy | difference | 95 % interval |")
    print("| --- | --- | --- | --- | --- |")
    for strategy in ("priority", "staged"):
        ways = {
            way: {
                "data": DIGITS,
                "space": {"learning_rate": {}, "momentum": {}},
                "training": {"epochs": 15, **keys},
                "search": {"strategy": strategy, "trials": 12},
            }
            for way, keys in DAMPENINGS.items()
        }
        _compare(ways, seeds=seeds, before=f"| {strategy} ")


def compare_architectures(seeds: int) -> None:
    """Whether a search gains by other models, and whether the recipe's order, the last remedy last, costs anything."""
    for name, data in (("few digits", FEW), ("digits", DIGITS)):
        print(
            f"\n### architectures, {name}\n\n| | dev accuracy | difference | 95 % interval |\n| --- | --- | --- | --- |"
        )
        ways = {
            way: {"data": data, "model": model, "training": {"epochs": 15}, "search": {"trials": 16, **keys}}
            for way, (model, keys) in ARCHITECTURES.items()
        }
        _compare(ways, seeds=seeds)


def _compare(ways: Mapping[str, Mapping[str, Any]], *, seeds: int, before: str = "") -> None:
    """Print the best dev accuracy of searches by each way, and the paired difference from the first."""
    first: np.ndarray | None = None
    for way, blocks in ways.items():
        scores = np.zeros(seeds)
        for seed in range(seeds):
            search = {**blocks["search"], "seed": seed, "trial_seed": seed}
            spec = SweepSpec.model_validate({"study": "benchmark", **blocks, "search": search})
            with tempfile.TemporaryDirectory() as folder:
                scores[seed] = searched(spec, folder=Path(folder))
        first = scores if first is None else first
        difference = "| |" if first is scores else paired(scores - first)
        print(f"{before}| {way} | {scores.mean():.4f} | {difference}")
        sys.stdout.flush()


def paired(apart: np.ndarray) -> str:
    """The mean of paired differences and its interval, as cells of a table."""
    half = stats.t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart))
    return f"{apart.mean():+.4f} | {apart.mean() - half:+.4f} to {apart.mean() + half:+.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser()
    searches = {"dampening": compare_dampenings, "architectures": compare_architectures}
    names = ", ".join([*searches, *CASES])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {names}; all if left out")
    parser.add_argument("--seeds", type=int, default=20)
    arguments = parser.parse_args()
    set_numeric_environment(1)
    torch.set_num_threads(1)
    for name, compare in searches.items():
        if not arguments.cases or name in arguments.cases:
            compare(arguments.seeds)
    for name in [name for name in arguments.cases if name in CASES] or ([] if arguments.cases else CASES):
        print(f"\n### {name}\n\n| | learning rate | dev accuracy | train - dev | difference | 95 % interval |")
        print("| --- | --- | --- | --- | --- | --- |")
        first: np.ndarray | None = None
        for way, keys in CASES[name].ways.items():
            with tempfile.TemporaryDirectory() as folder:
                rate, (scores, on_train) = best_of_rates(CASES[name], keys, seeds=arguments.seeds, folder=Path(folder))
            first = scores if first is None else first
            line = f"| {way} | {rate:g} | {scores.mean():.4f} | {(on_train - scores).mean():.4f} | "
            line += "| |" if first is scores else paired(scores - first)
            print(line)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
