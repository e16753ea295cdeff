"""On a GPU: folds, data on disk, parts of the user's, and checkpoints that change the machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.pretend_cuda import HAS_GPU, pretended
from tests.train.cohorts import curves, jobs, make_spec, make_task, run_cohort
from tests.train.test_folds import folded
from tests.train.test_gpu import FEW, assert_close, in_depth, slow
from tests.train.test_transfer import saved, spec_from
from tuner.data.load import load_training_data
from tuner.spec.model import DataSpec, ObjectiveSpec, SweepSpec
from tuner.train.task import Task

HERE = str(Path(__file__).parent)
CASES: Mapping[str, Mapping[str, object]] = {
    "folds": {"data": folded(), "batch_size": 41},
    "folds of users' modules": {"data": folded(), "model": "tests/train/user_modules.py:normed"},
    "users' loss and optimiser": {
        "root": HERE, "loss": "user_parts.py:cross_entropy", "optimizer": "user_parts.py:lbfgs_like", "lr_decay": 0.3,
    },
    "Lightning": {"model": "tests/train/lightning_modules.py:factory", "batch_size": 100},
}  # fmt: skip


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # Lightning's
@pytest.mark.filterwarnings("ignore:GPU available but not used")  # for the comparison
@pytest.mark.parametrize("name", in_depth(CASES))
def test_curves_are_those_of_the_cpu_resumed_too(name: str, gpu: str, tmp_path: Path) -> None:
    found = {}
    for device in ("cpu", gpu):
        task = make_task(**{"data": FEW, "device": device, **CASES[name]})  # type: ignore[arg-type]
        run_cohort(task, jobs(tmp_path / device, slow(2), to_epoch=1))
        found[device] = curves(run_cohort(task, jobs(tmp_path / device, slow(2), to_epoch=2)))
    for trial in range(2):
        assert len(found[gpu][trial]) == 2
        assert_close(found[gpu][trial], found["cpu"][trial], rel=1e-4)


def streamed(folder: Path) -> SweepSpec:
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 6)).astype(np.float32)
    np.save(folder / "X.npy", x)
    np.save(folder / "y.npy", (x[:, 0] > 0).astype(np.int64))
    spec = make_spec(root=str(folder), batch_size=41)
    return spec.model_copy(update={"data": DataSpec(source=str(folder), stream=True)})


@pytest.mark.gpu
@pytest.mark.deep
def test_data_that_stay_on_disk(gpu: str, tmp_path: Path) -> None:
    spec = streamed(tmp_path)
    found = []
    for device in ("cpu", gpu):
        task = Task(spec, load_training_data(spec), torch.device(device))
        assert task.streams
        found.append(curves(run_cohort(task, jobs(tmp_path / device, slow(2), to_epoch=2))))
    for trial in range(2):
        assert_close(found[1][trial], found[0][trial], rel=1e-4)


@pytest.mark.gpu
@pytest.mark.deep
@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_weights_from_a_file(gpu: str, model: str, tmp_path: Path) -> None:
    saved(tmp_path / "weights.pt", model=model)
    spec = spec_from(tmp_path / "weights.pt", model=model, new_layers=("head",), body_learning_rate_factor=0.3)
    found = []
    for device in ("cpu", gpu):
        task = Task(spec, FEW, torch.device(device))
        found.append(curves(run_cohort(task, jobs(tmp_path / device, slow(2), to_epoch=2))))
    for trial in range(2):
        assert_close(found[1][trial], found[0][trial], rel=1e-4)


@pytest.mark.gpu
def test_a_metric_of_the_users_is_given_tensors_of_the_gpu(gpu: str, tmp_path: Path) -> None:
    found = []
    for device in ("cpu", gpu):
        spec = make_spec(root=HERE, settings={"hidden_units": 8, "hidden_layers": 1})
        objective = ObjectiveSpec(metric="user_parts.py:tensor_metric", direction="maximize")
        task = Task(spec.model_copy(update={"objective": objective}), FEW, torch.device(device))
        events = run_cohort(task, jobs(tmp_path / device, slow(1), to_epoch=1))
        found.append([result.dev_metric for result in curves(events)[0]])
    assert found[0] == found[1]


@pytest.mark.skipif(HAS_GPU, reason="goes on where there is no GPU")
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, marks=pytest.mark.slow),
        {"root": HERE, "optimizer": "user_parts.py:lbfgs_like"},
        pytest.param({"model": "tests/train/user_modules.py:normed"}, marks=pytest.mark.slow),
    ],
    ids=["mlp", "users' optimiser", "users' module"],
)
def test_checkpoints_of_a_gpu_go_on_where_there_is_none(spec: Mapping[str, object], tmp_path: Path) -> None:
    with pretended():
        task = make_task(FEW, device="cuda:1", **spec)
        run_cohort(task, jobs(tmp_path / "moved", slow(2), to_epoch=1))
    task = make_task(FEW, **spec)
    moved = curves(run_cohort(task, jobs(tmp_path / "moved", slow(2), to_epoch=2)))
    whole = curves(run_cohort(task, jobs(tmp_path / "whole", slow(2), to_epoch=2)))
    for trial in range(2):
        assert_close(moved[trial], whole[trial], rel=1e-4)
