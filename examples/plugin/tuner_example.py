"""A plug-in of each kind. `pip install .` makes them known by the names in pyproject.toml."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from tuner.execute.inline import InlineExecutor
from tuner.execute.open import Where
from tuner.paths import StudyPaths
from tuner.records import DataInfo, EpochResult, Params, TrialJob, TrialRecord
from tuner.search.distinct import Key
from tuner.search.request import Request, with_rungs
from tuner.search.seeding import generator
from tuner.search.strategy import Strategy
from tuner.spec.model import SweepSpec
from tuner.spec.space import Space
from tuner.store.study_data import StudyData
from tuner.track.tracker import TrackedRun, Tracker
from tuner.trials import Trials


def spirals() -> tuple[np.ndarray, np.ndarray]:
    """`data: {source: spirals}`: two classes that wind around each other."""
    draw = np.random.default_rng(0)
    turn, classes = draw.uniform(0.5, 3.0, 300), draw.integers(0, 2, 300)
    angle = np.pi * (turn + classes)
    points = np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1)
    return points + 0.05 * draw.standard_normal(points.shape), classes


def narrow(params: Params, data: DataInfo) -> torch.nn.Module:
    """`model: narrow`: one hidden layer."""
    (inputs,) = data.input_shape
    return torch.nn.Sequential(torch.nn.Linear(inputs, 8), torch.nn.Tanh(), torch.nn.Linear(8, data.num_outputs))


def worst_class(outputs: torch.Tensor, targets: torch.Tensor) -> float:
    """`objective: {metric: worst_class, direction: maximize}`: the accuracy of the class that fares worst."""
    right = (outputs.argmax(dim=1) == targets).double()
    return min(float(right[targets == c].mean()) for c in targets.unique())


class _Corners:
    def __init__(self, space: Space, *, seed: int) -> None:
        self._space = space
        self._seed = seed

    def propose(self, trials: Trials, pending: Sequence[Params], *, taken: Set[Key]) -> tuple[Params, str] | None:
        draw = generator(self._seed, len(trials) + len(pending))  # from the seed and the place alone
        ends = draw.integers(0, 2, len(self._space)) + 0.1 * draw.standard_normal(len(self._space))
        return self._space.from_units([float(np.clip(end, 0, 1)) for end in ends]), "corners"

    def settle(self, params: Params) -> None:
        pass

    def explain(self) -> list[str]:
        return []


def make_corners(request: Request) -> tuple[Strategy, int]:
    """`search: {strategy: corners}`: near the corners of the space."""
    return with_rungs(request, _Corners(request.space, seed=request.seed))


class _Aloud(InlineExecutor):
    def submit(self, jobs: Sequence[TrialJob]) -> None:
        for job in jobs:
            print(f"{job.shown} is sent to epoch {job.to_epoch}")
        super().submit(jobs)


def open_aloud(spec: SweepSpec, paths: StudyPaths, where: Where) -> InlineExecutor:
    """`tuner run --engine aloud`: trains in this process, and prints each job."""
    return _Aloud(spec, paths, device="cpu", threads=1)


class LinesTracker(Tracker):
    """`track: [lines]`: a file of JSON lines for each run."""

    def begin(self, run: TrackedRun, record: TrialRecord) -> None:
        run.id = run.id or f"{run.name}.jsonl"

    def log(self, run: TrackedRun, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        for result in results:
            self._add(run, {"epoch": result.epoch, **self.values_of(result)})

    def end(self, run: TrackedRun, record: TrialRecord) -> None:
        self._add(run, {"state": str(record.state), **self.outcome_of(record)})

    def _add(self, run: TrackedRun, values: Mapping[str, object]) -> None:
        with Path(self.folder, run.id).open("a") as file:
            file.write(json.dumps(values) + "\n")


def to_outline(frame: pd.DataFrame, study: StudyData) -> str:
    """`tuner report STUDY --format outline`: a line for each trial, for a file of notes."""
    return "".join(f"- trial {trial}: {state}\n" for trial, state in zip(frame.trial, frame.state, strict=True))
