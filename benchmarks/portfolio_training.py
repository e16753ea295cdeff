"""Trains random configurations of a family's standard ranges on real tables: what a portfolio is learned from.

    nice python benchmarks/portfolio_training.py --family mlp-sgd --found FILE [--tables NAME ...] [--seconds 240]

The configurations of a family are the same on every table: a few shapes (what trials of one cohort share), and for
each of them several values of what a cohort's members may have of their own. Both are scrambled Sobol points of the
default space; what fights variance stays at its default, since a search opens it last. Half of a table's rows train,
half are the dev set. Where it was left, it goes on: each table's curves are added to a JSON file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: each process has one core

import numpy as np
import torch
from tables_at_hand import RealTable, frame_of
from tables_to_learn import MOST_LEARNED_ROWS, TABLES

from tuner.data.load import load_training_data
from tuner.records import EpochsFinished, Params, TrialJob
from tuner.search.cube import Cube
from tuner.search.sobol import sobol
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.model import SweepSpec
from tuner.spec.space import REGULARISATION_TIER, Space
from tuner.train.loop.cohort import Cohort
from tuner.train.programs.fusion import fusion_key
from tuner.train.task import Task

SEED = 30_000
"""Of the configurations: no search draws by it."""
_AT_ONCE = 16
"""Trials of a cohort."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A network and an optimiser, and how many configurations of them are trained."""

    model: str
    optimizer: str
    shapes: int
    of_each: int

    @property
    def key(self) -> str:
        return f"{self.model}-{self.optimizer}"

    def spec(self, file: str = "table.csv", table: RealTable | None = None, *, root: str = ".") -> SweepSpec:
        """A sweep with this family's default space."""
        given: dict[str, Any] = {"source": file, "split": {"train": 0.5, "dev": 0.5, "test": 0.0}}
        objective = {}
        if table is not None:
            given |= {"target": table.target, "task": "classification" if table.classes else "regression"}
            objective = {"metric": "accuracy" if table.classes else "rmse"}
        blocks = {"study": "learning", "data": given, "model": self.model, "objective": objective}
        return SweepSpec.model_validate({**blocks, "training": {"optimizer": self.optimizer}, "root": root})

    @property
    def space(self) -> Space:
        """The default space without what fights variance."""
        return Space(tuple(d for d in build_space(self.spec()) if d.tier < REGULARISATION_TIER))

    def configurations(self) -> list[Params]:
        """All of them, those of one shape one after another."""
        cube = Cube(self.space)
        is_own = np.array([HYPERPARAMETERS[d.name].fused == "own" for d in cube.dimensions])
        shapes = sobol(0, self.shapes, dimensions=int((~is_own).sum()), seed=SEED)
        own = sobol(0, self.shapes * self.of_each, dimensions=int(is_own.sum()), seed=SEED + 1)
        points = np.empty((self.shapes * self.of_each, cube.columns))
        points[:, ~is_own] = np.repeat(shapes, self.of_each, axis=0)
        points[:, is_own] = own
        return [cube.params(point) for point in cube.snap(points)]


FAMILIES: Mapping[str, Family] = {
    family.key: family
    for family in (
        Family(model="mlp", optimizer="sgd", shapes=16, of_each=8),
        Family(model="mlp", optimizer="adam", shapes=12, of_each=7),
        Family(model="tabular", optimizer="adamw", shapes=8, of_each=8),
        Family(model="linear", optimizer="sgd", shapes=4, of_each=16),
    )
}


def trained(family: Family, table: RealTable) -> dict[str, Any]:
    """The dev metric of each epoch (larger is better) and the processor seconds of each configuration on a table."""
    frame = frame_of(table)
    if len(frame) > MOST_LEARNED_ROWS:
        frame = frame.sample(MOST_LEARNED_ROWS, random_state=0)
    folder = Path(tempfile.mkdtemp(prefix="portfolio-"))
    try:
        frame.to_csv(folder / "table.csv", index=False)
        spec = family.spec(table=table, root=str(folder))
        task = Task(spec, load_training_data(spec), torch.device("cpu"))
        configurations = family.configurations()
        sign = 1.0 if table.classes else -1.0
        curves = np.full((len(configurations), spec.training.epochs), np.nan)
        seconds = np.zeros(len(configurations))
        cohorts: dict[object, list[TrialJob]] = defaultdict(list)
        for number, params in enumerate(configurations):
            job = TrialJob(
                trial=number,
                params=params,
                seed=number,
                to_epoch=spec.training.epochs,
                folder=str(folder / f"{number}"),
            )
            cohorts[fusion_key(spec, settings_for(spec, params))].append(job)
        for jobs in (own[at : at + _AT_ONCE] for own in cohorts.values() for at in range(0, len(own), _AT_ONCE)):
            began = time.process_time()
            for events in Cohort(task, jobs, worker="benchmark").epochs():
                for event in events:
                    if isinstance(event, EpochsFinished):
                        for result in event.results:
                            curves[event.trial, result.epoch - 1] = sign * result.dev_metric
            seconds[[job.trial for job in jobs]] = (time.process_time() - began) / len(jobs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    rounded = [[None if np.isnan(v) else float(f"{v:.5g}") for v in curve] for curve in curves]
    return {"rows": len(frame), "curves": rounded, "seconds": [float(f"{s:.3g}") for s in seconds]}


def main() -> None:
    """Parse the command line, and train on what has not been trained on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=FAMILIES, required=True)
    parser.add_argument("--found", type=Path, required=True, help="JSON of what has been trained")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--seconds", type=float, default=240.0, help="of the processor: no table is begun after them")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    found: dict[str, Any] = json.loads(given.found.read_text()) if given.found.exists() else {}
    for name in given.tables:
        key = f"{given.family} {name}"
        if key in found or time.process_time() > given.seconds:
            continue
        found[key] = trained(FAMILIES[given.family], TABLES[name])
        given.found.write_text(json.dumps(found))
        took = sum(found[key]["seconds"])
        print(f"{key}: {found[key]['rows']} rows, {took:.1f} s", flush=True)


if __name__ == "__main__":
    main()
