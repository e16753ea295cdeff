"""The sweeps that we ship, and the examples that one of them names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.depth import but_deep
from tuner.data.load import load_training_data
from tuner.models.build import build_module
from tuner.records import TrialJob
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.model import SweepSpec
from tuner.spec.reader import read_study_name, read_sweep
from tuner.train.before.checks import run_checks
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


DEAR = [path for path in SWEEPS if path.stem in ("pretrain", "transfer", "scratch", "sequences", "digits_cnn")]


@pytest.mark.slow
@pytest.mark.parametrize("path", but_deep(SWEEPS, *DEAR), ids=lambda p: p.stem)
def test_its_data_and_its_network_pass_the_checks_of_tuner_check(path: Path, tmp_path: Path) -> None:
    spec = read_sweep(path).spec
    if spec.loop is not None:
        pytest.skip("its code has data and a network of its own; tests/sweep/test_own_code.py runs it")
    if spec.model.init_from is not None:
        spec = start_of(spec, tmp_path)
    task = Task(spec, load_training_data(spec), torch.device("cpu"))
    job = TrialJob(trial=0, params=build_space(spec).default(), seed=0, to_epoch=1, folder="unused")
    failed = [check for check in run_checks(task, job, gradients=False) if not check.passed]
    assert failed == []


def start_of(spec: SweepSpec, folder: Path) -> SweepSpec:
    """The sweep with weights to start from such as the study that it names leaves, without running that one."""
    start = Path(str(spec.model.init_from))
    assert start.parts[-2:] == ("best", "weights.pt")
    earlier = read_sweep(SWEEPS[0].parent / f"{start.parts[-3]}.yaml").spec
    values = settings_for(earlier, build_space(earlier).default())
    module = build_module(earlier, values, load_training_data(earlier).info, seed=0)
    torch.save(module.state_dict(), folder / "weights.pt")
    return spec.model_copy(update={"model": spec.model.model_copy(update={"init_from": str(folder / "weights.pt")})})
