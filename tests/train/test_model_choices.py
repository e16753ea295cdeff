"""Trials of several architectures in one sweep: each is what it is in a sweep of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.train.cohorts import curves, diabetes, digits, figures, jobs, make_spec, make_task, run_cohort
from tuner.data.dataset import TrainingData
from tuner.errors import DataError
from tuner.records import Params
from tuner.spec.defaults import build_space
from tuner.spec.model import ModelSpec
from tuner.train.task import Task

OWN: dict[str, Params] = {
    "mlp": {"hidden_units": 20, "hidden_layers": 1},
    "cnn": {"hidden_units": 16, "channels": 4, "conv_layers": 1},
    "recurrent": {"hidden_units": 8, "hidden_layers": 1, "cell": "gru"},
}


def task_of(choices: list[str], data: TrainingData, **training: float) -> Task:
    spec = make_spec(epochs=2, **training)
    model = ModelSpec(kind=choices[0], choices=choices)
    return Task(spec.model_copy(update={"model": model}), data, torch.device("cpu"))


@pytest.mark.slow
def test_a_trial_is_the_same_as_in_a_sweep_of_its_model_alone(tmp_path: Path) -> None:
    task = task_of([*OWN], digits(), learning_rate=0.05)
    space = build_space(task.spec)
    for kind, own in OWN.items():
        params = space.complete({"model": kind, **own, "learning_rate": 0.05})
        (job,) = jobs(tmp_path / "several" / kind, [params], to_epoch=2)
        (alone,) = jobs(tmp_path / kind, [{n: v for n, v in params.items() if n != "model"}], to_epoch=2)
        single = make_task(model=kind, epochs=2, learning_rate=0.05)
        assert figures(curves(run_cohort(task, [job]))[0]) == figures(curves(run_cohort(single, [alone]))[0])
        assert task.num_parameters(task.member(job)) == single.num_parameters(single.member(alone))


def test_data_that_one_of_the_models_cannot_take_are_refused() -> None:
    with pytest.raises(DataError, match="model cnn needs images"):
        task_of(["mlp", "cnn"], diabetes())
    task_of(["mlp", "linear"], diabetes())
