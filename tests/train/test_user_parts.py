"""Losses, metrics and optimisers of the user's: the same bits as tuner's where they are the same, and exact resume."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.cohorts import digits, jobs, make_spec
from tuner.errors import TunerError, UserCodeError
from tuner.records import EpochResult, EpochsFinished
from tuner.spec.model import ObjectiveSpec
from tuner.train.loop.cohort import Cohort
from tuner.train.task import Task

HERE = str(Path(__file__).parent)
MLP = {"hidden_units": 16, "hidden_layers": 1}
CONFIGURATIONS = [{"learning_rate": 0.05}, {"learning_rate": 0.2}]


def make_task(*, metric: str | None = None, **training: Any) -> Task:
    spec = make_spec(settings=MLP, root=HERE, **training)
    if metric is not None:
        objective = ObjectiveSpec(metric=metric, direction="maximize")
        spec = spec.model_copy(update={"objective": objective})
    return Task(spec, digits(), torch.device("cpu"))


def train(task: Task, folder: Path, *, to_epoch: int = 3) -> dict[int, list[tuple[float, ...]]]:
    curves: dict[int, dict[int, EpochResult]] = {}
    for events in Cohort(task, jobs(folder, CONFIGURATIONS, to_epoch=to_epoch), worker="w").epochs():
        for event in events:
            if isinstance(event, EpochsFinished):
                curves.setdefault(event.trial, {}).update({r.epoch: r for r in event.results})
    return {
        trial: [(r.epoch, r.train_loss, r.dev_loss, r.train_metric, r.dev_metric, r.learning_rate) for r in c.values()]
        for trial, c in curves.items()
    }


@pytest.mark.parametrize(
    "parts",
    [
        {"optimizer": "user_parts.py:sgd"},
        {"metric": "user_parts.py:accuracy"},
        {"optimizer": "user_parts.py:sgd", "metric": "user_parts.py:accuracy", "lr_decay": 0.5},
    ],
)
def test_what_is_the_same_as_ours_gives_the_same_curves(tmp_path: Path, parts: dict[str, Any]) -> None:
    ours = {name: value for name, value in parts.items() if name == "lr_decay"}
    mine = train(make_task(fuse="off", **parts), tmp_path / "mine")
    assert mine == train(make_task(fuse="off", **ours), tmp_path / "ours")


def test_a_loss_of_ones_own_trains_the_same_weights(tmp_path: Path) -> None:
    """Its value is computed by PyTorch and not by our table, so its last bits may differ; accuracies do not."""
    mine = train(make_task(loss="user_parts.py:cross_entropy"), tmp_path / "mine")
    ours = train(make_task(fuse="off"), tmp_path / "ours")
    assert {t: [r[3:] for r in c] for t, c in mine.items()} == {t: [r[3:] for r in c] for t, c in ours.items()}
    assert mine[0][-1][2] == pytest.approx(ours[0][-1][2], rel=1e-5)


def test_a_resumed_trial_has_the_curve_of_an_unbroken_one(tmp_path: Path) -> None:
    """With an optimiser whose groups have rates of their own, all of whose state is in the checkpoint."""
    parts = {"optimizer": "user_parts.py:lbfgs_like", "loss": "user_parts.py:cross_entropy", "lr_decay": 0.3}
    train(make_task(**parts), tmp_path / "broken", to_epoch=1)
    broken = train(make_task(**parts), tmp_path / "broken")
    assert broken == train(make_task(**parts), tmp_path / "whole")
    assert [epoch for epoch, *_ in broken[0]] == [1, 2, 3]


def test_why_trials_are_not_fused_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = make_task(loss="user_parts.py:cross_entropy")
    with caplog.at_level(logging.WARNING):
        for number in range(2):
            train(task, tmp_path / str(number), to_epoch=1)
    said = "mlp is trained one trial at a time: training.loss is a function of yours"
    assert [record.getMessage() for record in caplog.records] == [said]
    with pytest.raises(TunerError, match=r"fuse: require, but trials cannot be fused: training"):
        train(make_task(loss="user_parts.py:cross_entropy", fuse="require"), tmp_path / "required")


def test_a_metric_alone_leaves_trials_fused(tmp_path: Path) -> None:
    task = make_task(metric="user_parts.py:tensor_metric")
    assert task.metric.name == "tensor_metric"
    assert task.program([task.member(job) for job in jobs(tmp_path, CONFIGURATIONS)]).path(0) == "stacked"


def test_a_metric_with_the_name_of_ours_is_not_taken_for_it() -> None:
    assert make_task(metric="user_parts.py:accuracy").metric.name == "own_accuracy"


@pytest.mark.parametrize(
    ("part", "function", "message"),
    [
        ("loss", "not_scalar", "returned a tensor of shape (8,); a loss must return a tensor of one number"),
        ("loss", "a_float", "returned float; a loss must return a tensor of one number"),
        (
            "loss", "detached",
            "gives no gradient: it must be computed from the outputs with PyTorch, undetached",
        ),
        ("loss", "not_a_number", "is nan where all outputs are 0.01"),
        ("loss", "number", "is no function"),
        ("metric", "words", "returned str; a metric must return a number"),
        (
            "metric", "wrong_shape",
            "failed for outputs (8, 10), targets (8,): RuntimeError: The size of tensor a (10) must match the size of "
            "tensor b (8) at non-singleton dimension 1",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_the_start(part: str, function: str, message: str) -> None:
    with pytest.raises(UserCodeError) as found:
        make_task(**{part: f"user_parts.py:{function}"})
    assert str(found.value) == f"user_parts.py:{function} {message}"


def test_what_is_no_optimizer_is_said(tmp_path: Path) -> None:
    task = make_task(optimizer="user_parts.py:none")
    with pytest.raises(UserCodeError, match=r"none returned NoneType; it must return a torch.optim.Optimizer"):
        train(task, tmp_path)
