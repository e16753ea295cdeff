"""`tuner best --refit` that is killed: the next call goes on or starts anew, to the weights of an unbroken one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from tuner.cli.main import run_command_line
from tuner.paths import StudyPaths
from tuner.report.certainty.choice import final_choice
from tuner.store.reader import read_study

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_apart")]

SWEEP = """
study: points
data: {source: table.csv, target: kind}
model: {kind: mlp, hidden_units: 8}
training: {epochs: 6, batch_size: 16, early_stopping: {restore_best: false, patience: 6}}
space: {learning_rate: {low: 0.01, high: 0.1}}
search: {trials: 2, strategy: random, pruner: none}
baselines: off
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> StudyPaths:
    """Two finished trials, in a process whose trainings write a checkpoint after each epoch."""
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(0).normal(size=(120, 3)).round(3)
    frame = pd.DataFrame(numbers, columns=["a", "b", "c"])
    frame.assign(kind=np.where(numbers[:, 0] > 0, "up", "down")).to_csv("table.csv", index=False)
    Path("sweep.yaml").write_text(SWEEP)
    assert run_command_line(["run", "sweep.yaml", "--engine", "inline", "-q"]) == 0
    monkeypatch.setattr("tuner.train.loop.cohort.MIN_CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr("tuner.train.loop.cohort.CHECKPOINT_SHARE", float("inf"))  # whatever they cost
    monkeypatch.setattr("tuner.train.loop.stretch.SHARE", 0.0)  # nor several epochs between two
    capsys.readouterr()
    return StudyPaths(tmp_path / "results" / "points")


def killed(monkeypatch: pytest.MonkeyPatch, point: str, times: int, *arguments: str) -> None:
    """The training is killed as it passes a point for so many times."""
    with monkeypatch.context() as patch:
        patch.setattr("tuner.faults._point", point)
        patch.setattr("tuner.faults._left", times)
        assert run_command_line(["best", "points", "--refit", *arguments]) == 1, (point, times)


def weights_of(paths: StudyPaths) -> dict[str, Tensor]:
    assert sorted(file.name for file in paths.refit.folder.iterdir()) == ["refit.json", "weights.pt"]
    found: dict[str, Tensor] = torch.load(paths.refit.weights, weights_only=True)
    return found


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_refit_that_was_killed_ends_as_an_unbroken_one(
    study: StudyPaths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command_line(["best", "points", "--refit"]) == 0
    unbroken = weights_of(study)
    known = json.loads(study.refit_facts.read_text())
    for point, times in (("checkpoint_written", 1), ("checkpoint_replaced", 3), ("weights_written", 1)):
        shutil.rmtree(study.refit.folder)
        killed(monkeypatch, point, times)
        assert not study.refit_facts.exists()
        capsys.readouterr()
        assert run_command_line(["predict", "points", "table.csv", "--refit"]) == 1
        assert "nothing of points has been trained on train and dev yet" in capsys.readouterr().err
        assert study.refit.checkpoint.exists() is (point != "checkpoint_written")
        assert run_command_line(["best", "points", "--refit"]) == 0
        assert_same(weights_of(study), unbroken)
        assert json.loads(study.refit_facts.read_text()) == known


def test_what_was_killed_of_one_trial_is_nothing_of_another(study: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    choice = final_choice(read_study(study, study="points"))
    assert choice is not None
    other = str(1 - choice.record.number)
    assert run_command_line(["best", "points", "--refit", "--trial", other]) == 0
    unbroken = weights_of(study)
    shutil.rmtree(study.refit.folder)
    killed(monkeypatch, "checkpoint_replaced", 3)  # of the winner's
    assert study.refit.checkpoint.exists()
    assert run_command_line(["best", "points", "--refit", "--trial", other]) == 0
    assert_same(weights_of(study), unbroken)
