"""From a sweep's `model:` and a trial's values to its module."""

from __future__ import annotations

import pickle
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.train.cohorts import digits, make_spec
from tuner.errors import UserCodeError
from tuner.models.build import build_module, network_of
from tuner.models.exact import TrialLinear
from tuner.models.layers.dropout import keyed_dropouts
from tuner.models.rewritten import rewritten
from tuner.spec.defaults import settings_for

INFO = digits().info

FACTORIES = """
import random

import numpy
import torch
from torch import nn

def linear(params, data):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, data.num_outputs), nn.Dropout(params["dropout"]))

def drawn(params, data):
    made = nn.Linear(1, 1)
    made.drawn = (float(torch.rand(())), float(numpy.random.rand()), random.random())
    return made

def wrong(params, data):
    return "a string"

def broken(params, data):
    raise RuntimeError("no such width")

def changes_params(params, data):
    params["dropout"] = 0.9
    return nn.Linear(1, 1)

NUMBER = 3
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(FACTORIES)
    return tmp_path


def build(name: str, root: Path, *, seed: int = 0, **params: float) -> nn.Module:
    spec = make_spec(model=f"mine.py:{name}", root=str(root))
    return build_module(spec, settings_for(spec, params), INFO, seed=seed)


def test_a_users_module_is_the_same_for_the_same_seed_and_leaves_the_generator_alone(root: Path) -> None:
    state = torch.get_rng_state()
    first, again, other = (build("linear", root, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(first.state_dict()["1.weight"], other.state_dict()["1.weight"])


def test_a_users_module_is_left_as_it_is(root: Path) -> None:
    module = build("linear", root, dropout=0.25)
    assert [type(part) for part in module] == [nn.Flatten, nn.Linear, nn.Dropout]  # type: ignore[union-attr]


def test_a_copy_that_is_stacked_gets_keyed_dropout_and_exact_layers(root: Path) -> None:
    module = build("linear", root, dropout=0.25)
    names = list(module.state_dict())
    module = rewritten(module, torch.device("cpu"))
    assert [float(d.scale) for d in keyed_dropouts(module)] == [pytest.approx(4 / 3)]
    assert isinstance(module[1], TrialLinear)  # type: ignore[index]
    assert list(module.state_dict()) == names


def test_every_generator_is_seeded_for_the_trial(root: Path) -> None:
    states = torch.get_rng_state(), np.random.get_state()[1], random.getstate()
    first, again, other = (build("drawn", root, seed=seed).drawn for seed in (1, 1, 2))
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert random.getstate() == states[2]


def test_a_factory_gets_values_of_its_own(root: Path) -> None:
    spec = make_spec(model="mine.py:changes_params", root=str(root))
    values = settings_for(spec, {"dropout": 0.1})
    build_module(spec, values, INFO, seed=0)
    assert values["dropout"] == 0.1


def test_a_factory_that_asks_the_data_for_another_name_hears_which_there_are() -> None:
    with pytest.raises(
        AttributeError, match=r"the data have no 'num_classes'; they have: task, input_shape, num_outputs"
    ):
        INFO.num_classes  # type: ignore[attr-defined]  # noqa: B018
    assert pickle.loads(pickle.dumps(INFO)) == INFO


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong", r"mine.py:wrong returned str; it must return an nn.Module"),
        ("NUMBER", r"mine.py:NUMBER is no function"),
    ],
)
def test_what_is_no_factory_is_refused(name: str, message: str, root: Path) -> None:
    with pytest.raises(UserCodeError, match=message):
        build(name, root)


def test_a_builtin_network_takes_its_settings_from_the_trial() -> None:
    spec = make_spec(settings={"hidden_layers": 2})
    values = settings_for(spec, {"hidden_units": 17, "dropout": 0.5})
    network = network_of(spec, values, INFO)
    assert network is not None
    module = build_module(spec, values, INFO, seed=4)
    linears = [m for m in module.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linears] == [(64, 17), (17, 17), (17, 10)]
    assert [float(d.scale) for d in keyed_dropouts(module)] == [2.0, 2.0]
    assert network.num_parameters == sum(p.numel() for p in module.parameters())


def test_an_exported_builtin_loads_into_ordinary_layers() -> None:
    """What users get needs nothing of ours: the names and shapes are those of plain `torch.nn`."""
    spec = make_spec(settings={"hidden_layers": 1, "hidden_units": 8, "norm": "batch"})
    weights = build_module(spec, settings_for(spec, {}), INFO, seed=0).state_dict()
    plain = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 10)
    )
    plain.load_state_dict(weights)


def test_a_users_factory_has_no_description(root: Path) -> None:
    spec = make_spec(model="mine.py:linear", root=str(root))
    assert network_of(spec, settings_for(spec, {}), INFO) is None
