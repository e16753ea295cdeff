"""The sweeps that we ship, and the examples that one of them names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tuner.data.load import load_training_data
from tuner.models.build import build_module
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.reader import read_study_name, read_sweep

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
def test_its_data_and_its_network_fit(path: Path) -> None:
    spec = read_sweep(path).spec
    data = load_training_data(spec)
    values = settings_for(spec, build_space(spec).default())
    module = build_module(spec, values, data.info, seed=0).eval()
    with torch.no_grad():
        outputs = module(data.dev.inputs[:5])
    assert outputs.shape == (5, data.info.num_outputs)
