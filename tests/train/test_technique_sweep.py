"""The shipped sweep of techniques, on real data, all of its techniques at once."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Hashable
from pathlib import Path

import pytest
import torch

from tests.train.cohorts import curves, figures, jobs, run_cohort
from tuner.data.load import load_training_data
from tuner.records import Params, TrialFinished
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.reader import read_sweep
from tuner.train.programs.fusion import fusion_key
from tuner.train.task import Task

SWEEP = Path(__file__).parents[2] / "sweeps" / "digits_techniques.yaml"


@pytest.mark.slow
def test_trials_from_its_space_train_in_cohorts_as_they_do_alone(tmp_path: Path) -> None:
    spec = read_sweep(SWEEP, overrides=["training.epochs=2"]).spec
    space, task = build_space(spec), Task(spec, load_training_data(spec), torch.device("cpu"))
    draw = random.Random(0)
    configurations = [space.default(), *(space.from_units([draw.random() for _ in space]) for _ in range(7))]
    cohorts: dict[Hashable, list[Params]] = defaultdict(list)
    for params in configurations:
        cohorts[fusion_key(spec, settings_for(spec, params))].append(params)
    assert 1 < len(cohorts) < len(configurations)
    for number, members in enumerate(cohorts.values()):
        together = run_cohort(task, jobs(tmp_path / f"{number}", members, to_epoch=2))
        assert sum(isinstance(e, TrialFinished) for e in together) == len(members)
        last = jobs(tmp_path / f"{number}-alone", members, to_epoch=2)[-1]
        alone = curves(run_cohort(task, [last]))
        assert figures(alone[last.trial]) == figures(curves(together)[last.trial])
