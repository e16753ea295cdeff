"""Numerical gradients: right ones pass however deep the network is, and a single wrong unit is found."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.depth import but_deep
from tests.train.cohorts import digits, jobs, make_task
from tests.train.trials import settings_of
from tuner.data.dataset import Split
from tuner.train.before import checks
from tuner.train.before.checks import WRONG_ERROR, check_gradients, run_checks
from tuner.train.before.gradient_check import TOGETHER, GradientError, gradient_errors
from tuner.train.program import Member

TASK = make_task()
BATCH = Split(digits().train.inputs[:16], digits().train.targets[:16])
UNITS = 64


def errors(module: nn.Module, *, seconds: float = math.inf) -> dict[str, GradientError]:
    return gradient_errors(module, BATCH, loss=TASK.batch_loss, seconds=seconds)


def wrong(module: nn.Module) -> set[str]:
    return {name for name, error in errors(module).items() if error.relative >= WRONG_ERROR}


def deep(layers: int, activation: Callable[[], nn.Module], *, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    hidden = [part for _ in range(layers) for part in (nn.Linear(UNITS, UNITS), activation())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(UNITS, 10))


@pytest.mark.slow
@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("layers", but_deep([10, 20], 20))
def test_right_gradients_pass_also_where_they_vanish(layers: int, activation: Callable[[], nn.Module]) -> None:
    assert wrong(deep(layers, activation)) == set()


@pytest.mark.slow
def test_what_rounding_hides_is_said() -> None:
    check = check_gradients(TASK, Member(0, settings_of(), None, lambda: deep(20, nn.Sigmoid)), BATCH)
    assert check.passed
    assert "vanish beside the rounding of the loss" in check.finding
    assert "tensors: 1.weight" not in check.finding
    assert "41.weight" in check.finding


class Scaled(torch.autograd.Function):
    """The identity, whose backward multiplies the gradient by the second input."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, factors: Tensor) -> Tensor:
        ctx.save_for_backward(factors)
        return x.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor, None]:
        (factors,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grads[0] * factors, None


class WrongUnits(nn.Module):
    """Its hidden units' gradients are multiplied by factors, which are 1 where they are right."""

    def __init__(self, factors: Tensor, *, convolution: bool = False, layers: int = 1) -> None:
        super().__init__()
        self.factors = factors
        torch.manual_seed(0)
        first = nn.Conv2d(1, UNITS, 8) if convolution else nn.Linear(UNITS, UNITS)
        before = [part for _ in range(layers - 1) for part in (nn.Linear(UNITS, UNITS), nn.Tanh())]
        self.first = first if convolution else nn.Sequential(nn.Flatten(), *before, first)
        self.last = nn.Linear(UNITS, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = Scaled.apply(self.first(x).flatten(1), self.factors)
        out: Tensor = self.last(torch.tanh(hidden))
        return out


def factors(unit: int | None, factor: float) -> Tensor:
    found = torch.full((UNITS,), factor if unit is None else 1.0, dtype=torch.float64)
    if unit is not None:
        found[unit] = factor
    return found


@pytest.mark.parametrize("unit", but_deep(range(UNITS), *range(0, UNITS, 2)))
def test_each_unit_without_a_gradient_is_found(unit: int) -> None:
    found = wrong(WrongUnits(factors(unit, 0.0)))
    assert "first.1.weight" in found
    assert found <= {TOGETHER, "first.1.weight", "first.1.bias"}


def test_the_same_module_with_a_right_backward_passes() -> None:
    for convolution in (False, True):
        assert wrong(WrongUnits(factors(None, 1.0), convolution=convolution)) == set()


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.01, 0.99, 0.5, -1.0])
def test_a_wrong_factor_is_found_in_what_lies_below_it_and_nowhere_else(factor: float) -> None:
    found = wrong(WrongUnits(factors(None, factor), layers=3))
    assert found == {TOGETHER} | {f"first.{n}.{name}" for n in (1, 3, 5) for name in ("weight", "bias")}


def test_a_wrong_channel_of_a_convolution_is_found() -> None:
    assert wrong(WrongUnits(factors(5, 0.0), convolution=True)) == {TOGETHER, "first.weight", "first.bias"}


def test_a_wrong_column_of_a_weight_is_found() -> None:
    """As of a layer that stores its weight by inputs."""

    class ByInputs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.weight = nn.Parameter(0.1 * torch.randn(UNITS, UNITS))
            self.last = nn.Linear(UNITS, 10)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.last(torch.tanh(Scaled.apply(x.flatten(1) @ self.weight, factors(7, 0.0))))
            return out

    assert wrong(ByInputs()) == {TOGETHER, "weight"}


def test_a_network_that_stands_on_kinks_is_not_blamed() -> None:
    """At zero the slope of ReLU is what its author chose."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(UNITS, UNITS), nn.ReLU(), nn.Linear(UNITS, 10))
    nn.init.zeros_(module[1].weight)
    nn.init.zeros_(module[1].bias)
    assert wrong(module) == set()


def test_when_the_time_is_over_all_tensors_were_seen_together(monkeypatch: pytest.MonkeyPatch) -> None:
    found = errors(WrongUnits(factors(3, 0.0)), seconds=-1.0)
    assert found.keys() == {TOGETHER}
    assert found[TOGETHER].relative >= WRONG_ERROR
    monkeypatch.setattr(checks, "GRADIENT_SECONDS", -1.0)
    check = check_gradients(TASK, Member(0, settings_of(), None, lambda: deep(1, nn.Tanh)), BATCH)
    assert check.passed
    assert "4 more only together" in check.finding


class MakesZeros(nn.Module):
    """Begins with a state that it makes itself."""

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.dtype = dtype
        self.first, self.last = nn.Linear(UNITS, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.zeros(len(x), UNITS, dtype=self.dtype)
        out: Tensor = self.last(torch.tanh(self.first(torch.cat([state, x.flatten(1)])[len(x) :]) + self.first(state)))
        return out


def test_a_module_that_makes_tensors_is_checked_and_one_that_is_of_float32_alone_is_not_blamed() -> None:
    for dtype, passed_over in ((None, False), (torch.float32, True)):
        check = check_gradients(TASK, Member(0, settings_of(), None, lambda d=dtype: MakesZeros(d)), BATCH)
        assert check.passed
        assert ("not checked, since the forward pass does not run in float64" in check.finding) == passed_over


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "is_checked"),
    [
        ({}, False),
        ({"model": "tests/train/user_modules.py:two_layers"}, True),
        ({"loss": "tests/train/user_parts.py:cross_entropy"}, True),
    ],
)
def test_gradients_are_checked_by_default_where_code_is_the_users(
    spec: dict[str, str], is_checked: bool, tmp_path: Path
) -> None:
    (job,) = jobs(tmp_path, [{}])
    names = {check.name for check in run_checks(make_task(**spec), job, gradients=None)}
    assert ("gradients" in names) == is_checked
