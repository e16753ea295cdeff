"""The sweeps that we ship, and the examples that one of them names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tuner.data.load import load_training_data
from tuner.records import TrialJob
from tuner.spec.defaults import build_space
from tuner.spec.reader import read_study_name, read_sweep
from tuner.train.checks import run_checks
from tuner.train.task import Task

SWEEPS = sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml"))


def test_there_are_the_four_that_we_promise() -> None:
    assert {"digits", "digits_cnn", "breast_cancer", "custom_model"} <= {p.stem for p in SWEEPS}


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_it_is_read_without_a_warning(path: Path) -> None:
    file = read_sweep(path)
    assert file.warnings == ()
    assert file.spec.study == read_study_name(path) == path.stem
    space = build_space(file.spec)
    assert space.contains(space.default())


@pytest.mark.parametrize("path", SWEEPS, ids=lambda p: p.stem)
def test_its_data_and_its_network_pass_the_checks_of_tuner_check(path: Path) -> None:
    spec = read_sweep(path).spec
    if spec.loop is not None:
        pytest.skip("its code has data and a network of its own; tests/sweep/test_own_code.py runs it")
    task = Task(spec, load_training_data(spec), torch.device("cpu"))
    job = TrialJob(trial=0, params=build_space(spec).default(), seed=0, to_epoch=1, folder="unused")
    failed = [check for check in run_checks(task, job, gradients=False) if not check.passed]
    assert failed == []
