"""What is wrong with a user's model is said before the first trial."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.cohorts import diabetes, digits, make_spec
from tuner.errors import TunerError, UserCodeError
from tuner.spec.model import DimensionSpec
from tuner.train.before.contract import check_before_trials, check_contract
from tuner.train.task import Task

HERE = str(Path(__file__).parent)


def check(model: str, *, space: dict[str, Any] | None = None, data: Any = None) -> None:
    spec = make_spec(model=f"wrong_models.py:{model}", root=HERE)
    if space is not None:
        parts = {name: DimensionSpec(**part) for name, part in space.items()}
        spec = spec.model_copy(update={"space": parts})
    check_contract(Task(spec, data or digits(), torch.device("cpu")))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("five_outputs", "gives outputs of shape (4, 5) for 4 examples; give a logit for each class or label: (4, 10)"),
        (
            "of_the_batch",
            "gives outputs of shape (10, 4) for 4 examples; give a logit for each class or label: (4, 10)",
        ),
        ("a_pair", "gives a tuple of 2, from 0 on; its forward must return a tensor, or model.outputs name its part"),
        ("no_module", "returned int; it must return an nn.Module"),
        (
            "detached",
            "gives outputs without a gradient, so nothing can learn from a batch; look for detach(), .data, no_grad() "
            "or NumPy in its forward",
        ),
        ("frozen", "returned a module without a parameter that requires a gradient; nothing can learn"),
        ("nan", "gives outputs that are no finite numbers before any training; look at its initial weights"),
        (
            "broken",
            "fails for inputs of shape (4, 1, 8, 8): RuntimeError: The size of tensor a (10) must match the size of "
            "tensor b (3) at non-singleton dimension 1",
        ),
    ],
)
def test_what_is_wrong_with_a_model_is_said(model: str, message: str) -> None:
    with pytest.raises(UserCodeError) as found:
        check(model)
    assert str(found.value) == f"wrong_models.py:{model} {message}"


@pytest.mark.slow
def test_a_module_that_must_be_fused_and_cannot_be_is_refused_before_its_first_trial() -> None:
    spec = make_spec(model="user_modules.py:chooser", root=HERE, fuse="require")
    with pytest.raises(TunerError, match=r"^fuse: require, but user_modules.py:chooser cannot be fused: its forward"):
        check_before_trials(Task(spec, digits(), torch.device("cpu")))


def test_a_regression_may_leave_out_the_last_axis() -> None:
    check("flat", data=diabetes())


def test_what_only_a_factory_can_heed_is_named_where_it_does_not(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check("reads_width", space={"learning_rate": {}, "init": {}, "hidden_units": {}, "width": {"choices": [4, 8]}})
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("wrong_models.py:reads_width does not read hidden_units, init for the default configuration")


@pytest.mark.parametrize(("model", "unread"), [("reads_width", "depth"), ("reads_by_name", ""), ("reads_all", "")])
def test_parameters_that_nothing_reads_are_named(model: str, unread: str, caplog: pytest.LogCaptureFixture) -> None:
    space = {name: {"low": 4, "high": 8, "tier": 2} for name in ("width", "depth")}
    with caplog.at_level(logging.WARNING):
        check(model, space={"learning_rate": {}, **space})
    said = [record.getMessage() for record in caplog.records]
    expected = (
        f"wrong_models.py:{model} does not read {unread} for the default configuration; a parameter that nothing reads "
        "only wastes trials"
    )
    assert said == ([expected] if unread else [])
