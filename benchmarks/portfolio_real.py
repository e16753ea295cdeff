"""What the shipped portfolio gains in real trainings: the dev accuracy after so many epochs of all trials together.

    nice python benchmarks/portfolio_real.py [--data segment vowel ...] [--seeds 5] [--trials 20] [--found FILE]

Each data set is searched with `model: mlp`, SGD and everything else left out, in this process and on one thread, with
`search.portfolio: off` and with the portfolio, in turns; each seed has a split of its own. Prints mean accuracies, and
the epochs and processor seconds until a hundredth below what `off` reaches in all its trials on that split. None of the
data is in the portfolio.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: each process has one core

import numpy as np
import torch
from tables_at_hand import DEVELOPMENT, JUDGES, frame_of
from tables_for_advice import TABLES as ADVICE

import tuner.search.portfolio
from tuner.execute.inline import InlineExecutor
from tuner.execute.numeric import set_numeric_environment
from tuner.paths import StudyPaths
from tuner.records import EpochResult, TrialRecord
from tuner.search.portfolio import learned_starts
from tuner.search.registry import open_strategy
from tuner.spec.defaults import build_space
from tuner.spec.model import LimitsSpec, SweepSpec
from tuner.store.memory import MemoryStore
from tuner.sweep.loop import StopRequest, Sweep
from tuner.sweep.watcher import Watcher

AT_HAND = {**JUDGES, **DEVELOPMENT, **ADVICE}
_LOOKED_AT = (30, 60, 120, 240)
"""Epochs: one full training, two, four, eight."""
_BELOW = 0.01
WAYS: Mapping[str, str] = {"off": "off", "portfolio": str(Path(tuner.search.portfolio.__file__).with_suffix(".json"))}


class _Clock(Watcher):
    """Notes each new best accuracy with the epochs and the seconds so far."""

    def __init__(self) -> None:
        self.began, self.spent, self.best = time.process_time(), 0, -math.inf
        self.steps: list[tuple[int, float, float]] = []

    def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        for result in results:
            self.spent += 1
            if result.dev_metric > self.best:
                self.best = result.dev_metric
                self.steps.append((self.spent, time.process_time() - self.began, self.best))


def searched(
    data: Mapping[str, Any], way: str, *, trials: int, seed: int, root: Path
) -> list[tuple[int, float, float]]:
    """(epochs, seconds, accuracy) of each new best."""
    search = {"trials": trials, "seed": seed, "portfolio": WAYS[way]}
    blocks = {"study": "real", "data": {**data, "seed": seed}, "model": "mlp", "search": search, "root": str(root)}
    spec = SweepSpec.model_validate({**blocks, "objective": {"metric": "accuracy"}})
    space = build_space(spec)
    with tempfile.TemporaryDirectory() as folder:
        executor = InlineExecutor(spec, StudyPaths(Path(folder)))
        learned, clock = learned_starts(spec, space), _Clock()
        strategy = open_strategy(
            spec, space, executor.facts.direction, learned=learned.starts if learned is not None else ()
        )
        Sweep(
            strategy, MemoryStore(), executor, folders=lambda number: Path(folder) / f"{number}", limits=LimitsSpec(),
            watcher=clock, stop=StopRequest(),
        ).run()  # fmt: skip
    return clock.steps


def until(target: float, steps: Sequence[Sequence[float]], unit: int) -> float:
    """Epochs (0) or seconds (1) to the target; infinite if it was not reached."""
    return next((step[unit] for step in steps if step[2] >= target - 1e-9), math.inf)


def main() -> None:
    """Parse the command line, search, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["segment", "vowel", "digits"], choices=["digits", *AT_HAND])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--found", type=Path, help="JSON of what has been measured: it is not measured again")
    given = parser.parse_args()
    set_numeric_environment(1)
    torch.set_num_threads(1)
    found: dict[str, Any] = json.loads(given.found.read_text()) if given.found and given.found.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in given.data:
            data: dict[str, Any] = {"source": "sklearn/digits"}
            if name != "digits":
                frame_of(AT_HAND[name]).to_csv(Path(folder, f"{name}.csv"), index=False)
                data = {"source": f"{name}.csv", "target": AT_HAND[name].target, "task": "classification"}
            for seed in range(given.seeds):
                for way in WAYS if seed % 2 else reversed(WAYS):
                    key = f"{name} {way} {seed} {given.trials}"
                    if key not in found:
                        found[key] = searched(data, way, trials=given.trials, seed=seed, root=Path(folder))
                        if given.found:
                            given.found.write_text(json.dumps(found))
            seeds = range(given.seeds)
            _show(name, {way: [found[f"{name} {way} {seed} {given.trials}"] for seed in seeds] for way in WAYS})


def _show(name: str, runs: Mapping[str, Sequence[Sequence[Sequence[float]]]]) -> None:
    for epochs in _LOOKED_AT:
        best = {way: np.array([max(s[2] for s in run if s[0] <= epochs) for run in own]) for way, own in runs.items()}
        apart = best["portfolio"] - best["off"]
        error = apart.std(ddof=1) / len(apart) ** 0.5
        means = ", ".join(f"{way} {values.mean():.4f}" for way, values in best.items())
        print(f"{name} after {epochs} epochs: {means}, difference {apart.mean():+.4f} ({error:.4f})", flush=True)
    targets = [run[-1][2] - _BELOW for run in runs["off"]]
    for unit, what in enumerate(("epochs", "seconds")):
        each = {
            w: [round(until(t, run, unit), 1) for t, run in zip(targets, own, strict=True)] for w, own in runs.items()
        }
        shown = "; ".join(f"{way} {statistics.median(own):g} of {own}" for way, own in each.items())
        print(f"{name} {what} to the target: {shown}", flush=True)


if __name__ == "__main__":
    main()
