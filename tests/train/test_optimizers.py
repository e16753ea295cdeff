"""Each optimiser on rows against its namesake in `torch.optim`, on random gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.depth import at_depth
from tests.train.trials import settings_of
from tuner.train.programs.torch_optimizers import make_optimizer, rate_shares
from tuner.train.rows import row_optimizer as module
from tuner.train.rows.optimizers import ROW_OPTIMIZERS
from tuner.train.rows.row_optimizer import RowOptimizer
from tuner.train.settings import Settings

STEPS = 12
WEIGHTS, BIASES = 64, 64
TOLERANCES = {"sgd": 1e-6, "rmsprop": 1e-5, "adam": 1e-5, "adamw": 1e-5, "amsgrad": 1e-5, "nadam": 1e-5, "lion": 1e-5}


class Parameters(nn.Module):
    """A weight and a bias, as a row holds them."""

    def __init__(self, row_P: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(row_P[:WEIGHTS].clone().view(8, -1))
        self.bias = nn.Parameter(row_P[WEIGHTS:].clone())

    def row(self) -> Tensor:
        return torch.cat([self.weight.detach().flatten(), self.bias.detach()])


def by_torch(trial: Settings, start_P: Tensor, grads_SP: Tensor, rates: NDArray[np.float64]) -> Tensor:
    """The row after training by `torch.optim`, with L1 and clipping as the plain loop has them."""
    module = Parameters(start_P)
    optimizer = make_optimizer(module, trial)
    shares = rate_shares(trial, np.arange(1, len(rates) + 1))
    for grad_P, rate in zip(grads_SP, rates * shares, strict=True):
        module.weight.grad = grad_P[:WEIGHTS].clone().view(8, -1) + trial.l1 * module.weight.detach().sign()
        module.bias.grad = grad_P[WEIGHTS:].clone()
        if trial.clip_norm is not None:
            nn.utils.clip_grad_norm_(module.parameters(), trial.clip_norm)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
    return module.row()


def by_rows(
    trials: Sequence[Settings],
    start_KP: Tensor,
    grads_SKP: Tensor,
    rates_SK: np.ndarray,
    *,
    shares: Mapping[str, Tensor] = MappingProxyType({}),
) -> Tensor:
    """The rows after training by ours."""
    optimizer = ROW_OPTIMIZERS[trials[0].optimizer](trials, num_decayed=WEIGHTS, shares=shares)
    rows = start_KP.clone()
    moments = {name: torch.zeros_like(rows) for name in optimizer.moments}
    numbers = np.arange(len(grads_SKP))[:, None].repeat(len(trials), axis=1)
    table = optimizer.scalars(rates_SK, numbers)
    for number, grad_KP in enumerate(grads_SKP):
        scalars = {name: torch.tensor(value[number], dtype=torch.float32)[:, None] for name, value in table.items()}
        optimizer.step(rows, grad_KP.clone(), moments, scalars)
    return rows


@st.composite
def cohorts(draw: st.DrawFn) -> list[Settings]:
    """One to five trials of one optimiser that differ in everything that is a vector over trials."""
    optimizer = draw(st.sampled_from(sorted(ROW_OPTIMIZERS)))
    nesterov = optimizer == "sgd" and draw(st.booleans())
    found = []
    for _ in range(draw(st.integers(1, 5))):
        trial = settings_of(
            optimizer=optimizer,
            nesterov=nesterov,
            learning_rate=draw(st.floats(1e-4, 0.1)),
            momentum=draw(st.floats(0.0, 0.99)),
            beta1=draw(st.floats(0.0, 0.99)),
            beta2=draw(st.floats(0.5, 0.9999)),
            weight_decay=draw(st.sampled_from([0.0, 1e-4, 0.1])),
            l1=draw(st.sampled_from([0.0, 1e-3])),
            dampening=draw(st.sampled_from([0.0, 0.3, "auto"])),
            bias_correction=draw(st.sampled_from(["auto", True, False])),
            epsilon=draw(st.sampled_from([1e-8, 1e-2])),
        )
        found.append(replace(trial, clip_norm=draw(st.sampled_from([None, 0.5, 100.0]))))
    return found


def problem(trials: Sequence[Settings], seed: int) -> tuple[Tensor, Tensor, np.ndarray]:
    """Start rows, gradients (steps, trials, entries) and falling learning rates (steps, trials)."""
    draw = torch.Generator().manual_seed(seed)
    starts = torch.randn(len(trials), WEIGHTS + BIASES, generator=draw)
    grads = torch.randn(STEPS, len(trials), WEIGHTS + BIASES, generator=draw)
    rates = np.array([t.learning_rate for t in trials]) / (1 + 0.1 * np.arange(STEPS))[:, None]
    return starts, grads, rates


@pytest.mark.slow
@given(cohorts(), st.integers(0, 1000))
@settings(max_examples=at_depth(40), deadline=None)
def test_rows_follow_torch_optim(trials: list[Settings], seed: int) -> None:
    starts, grads, rates = problem(trials, seed)
    rows = by_rows(trials, starts, grads, rates)
    for k, trial in enumerate(trials):
        expected = by_torch(trial, starts[k], grads[:, k], rates[:, k])
        difference = float((rows[k] - expected).abs().max() / expected.abs().max())
        assert difference <= TOLERANCES[trial.optimizer]


@pytest.mark.parametrize("optimizer", sorted(ROW_OPTIMIZERS))
def test_a_dozen_steps_of_each_kind_are_those_of_its_namesake(optimizer: str) -> None:
    trial = settings_of(optimizer=optimizer, learning_rate=0.01, weight_decay=0.1)
    starts, grads, rates = problem([trial], 0)
    (row,) = by_rows([trial], starts, grads, rates)
    expected = by_torch(trial, starts[0], grads[:, 0], rates[:, 0])
    assert not torch.allclose(expected, starts[0], atol=1e-3)
    torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-5)


def in_float64(trial: Settings, grads_SP: Tensor) -> NDArray[np.float64]:
    """A row from zero on, by the course's formulas as they are written, at the trial's learning rate."""
    v = s = p = np.zeros(grads_SP.shape[1])
    for t, g in enumerate(grads_SP.double().numpy(), start=1):
        match trial.optimizer:
            case "sgd":
                v = trial.momentum * v + (1 - trial.dampening) * g
                step = v / (1 - trial.momentum**t) if trial.corrects_bias else v
            case "rmsprop":
                s = trial.beta2 * s + (1 - trial.beta2) * g**2
                v = trial.momentum * v + (1 - trial.dampening) * g / (np.sqrt(s) + trial.epsilon)
                step = v
            case _:
                v = trial.beta1 * v + (1 - trial.beta1) * g
                s = trial.beta2 * s + (1 - trial.beta2) * g**2
                first, second = v, s
                if trial.corrects_bias:
                    first, second = v / (1 - trial.beta1**t), s / (1 - trial.beta2**t)
                step = first / (np.sqrt(second) + trial.epsilon)
        p = p - trial.learning_rate * step
    return p


@pytest.mark.parametrize(
    "params",
    [
        {"dampening": "auto"},
        {"dampening": 0.5, "momentum": 0.8},
        {"dampening": "auto", "bias_correction": True},
        {"bias_correction": True},
        {"optimizer": "rmsprop", "dampening": "auto", "momentum": 0.9, "epsilon": 0.1},
        {"optimizer": "adam", "epsilon": 0.1},
        {"optimizer": "adam", "bias_correction": False},
        {"optimizer": "adamw", "bias_correction": False, "epsilon": 1e-3},
    ],
)
def test_the_averages_of_the_course_are_its_formulas_on_rows_and_in_torch(params: dict[str, float | str]) -> None:
    trial = settings_of(**{"momentum": 0.9, "learning_rate": 0.01} | params)
    _, grads, rates = problem([trial], 1)
    start, rates = torch.zeros(1, WEIGHTS + BIASES), np.full_like(rates, trial.learning_rate)
    expected = torch.from_numpy(in_float64(trial, grads[:, 0])).float()
    torch.testing.assert_close(by_rows([trial], start, grads, rates)[0], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(by_torch(trial, start[0], grads[:, 0], rates[:, 0]), expected, rtol=1e-4, atol=1e-6)


def test_a_damped_momentum_of_a_constant_gradient_comes_to_steps_of_the_learning_rate() -> None:
    def last_step(**params: float | str) -> float:
        trial = settings_of(learning_rate=0.1, momentum=0.5, **params)
        rows = [by_rows([trial], torch.zeros(1, 128), torch.ones(n, 1, 128), np.full((n, 1), 0.1)) for n in (59, 60)]
        return float((rows[0] - rows[1])[0, 0])

    assert last_step() == pytest.approx(0.2, rel=1e-4)
    assert last_step(dampening="auto") == pytest.approx(0.1, rel=1e-4)
    assert last_step(dampening="auto", bias_correction=True) == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("optimizer", sorted(ROW_OPTIMIZERS))
def test_a_long_row_in_parts_is_updated_to_the_same_bits(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = settings_of(optimizer=optimizer, weight_decay=0.1, l1=0.01, clip_norm=1.0)
    draw = torch.Generator().manual_seed(0)
    start, grads = torch.randn(1, 448, generator=draw), torch.randn(STEPS, 1, 448, generator=draw)
    rates = np.full((STEPS, 1), 0.01)
    whole = by_rows([trial], start, grads, rates)
    monkeypatch.setattr(module, "_LONG", 128)
    monkeypatch.setattr(module, "_AT_ONCE", 128)  # the last part is shorter
    assert torch.equal(by_rows([trial], start, grads, rates), whole)


def test_what_an_optimiser_has_no_use_for_changes_nothing() -> None:
    for optimizer in ("nadam", "lion", "rmsprop"):
        usual, asked = (settings_of(optimizer=optimizer, bias_correction=b) for b in ("auto", False))
        starts, grads, rates = problem([usual], 0)
        assert torch.equal(by_rows([usual], starts, grads, rates), by_rows([asked], starts, grads, rates))
    damped = settings_of(momentum=0.0, dampening=0.5, bias_correction=True)
    starts, grads, rates = problem([damped], 0)
    assert torch.equal(
        by_rows([damped], starts, grads, rates), by_rows([settings_of(momentum=0.0)], starts, grads, rates)
    )


@given(cohorts(), st.integers(0, 1000))
@settings(max_examples=at_depth(20), deadline=None)
def test_a_row_does_not_feel_its_neighbours(trials: list[Settings], seed: int) -> None:
    starts, grads, rates = problem(trials, seed)
    rows = by_rows(trials, starts, grads, rates)
    for k, trial in enumerate(trials):
        alone = by_rows([trial], starts[k : k + 1], grads[:, k : k + 1], rates[:, k : k + 1])
        assert torch.equal(alone[0], rows[k])


def change(optimizer: str, **params: float) -> Tensor:
    """What one step changes in a row whose gradient is zero."""
    trial = settings_of(optimizer=optimizer, learning_rate=0.1, momentum=0.0, **params)
    start = torch.linspace(-1, 1, WEIGHTS + BIASES)[None]
    grads = torch.zeros(1, 1, WEIGHTS + BIASES)
    return (by_rows([trial], start, grads, np.full((1, 1), 0.1)) - start)[0]


@pytest.mark.parametrize("optimizer", sorted(ROW_OPTIMIZERS))
@pytest.mark.parametrize("penalty", ["weight_decay", "l1"])
def test_penalties_pull_weights_towards_zero_and_leave_biases_and_norms(optimizer: str, penalty: str) -> None:
    changed = change(optimizer, **{penalty: 0.5})
    weights = torch.linspace(-1, 1, WEIGHTS + BIASES)[:WEIGHTS]
    assert not changed[WEIGHTS:].any()
    assert (changed[:WEIGHTS] * weights < 0).all()


def test_l2_is_proportional_to_a_weight_and_l1_is_not() -> None:
    weights = torch.linspace(-1, 1, WEIGHTS + BIASES)[:WEIGHTS]
    torch.testing.assert_close(change("sgd", weight_decay=0.5)[:WEIGHTS], -0.1 * 0.5 * weights)
    torch.testing.assert_close(change("sgd", l1=0.5)[:WEIGHTS], torch.full((WEIGHTS,), 0.1 * 0.5))


def test_each_trials_gradient_is_clipped_to_its_own_norm() -> None:
    trials = [
        replace(settings_of(learning_rate=1.0, momentum=0.0), clip_norm=limit) for limit in (1.0, None, 0.25, 1e6)
    ]
    grads = torch.full((1, 4, WEIGHTS + BIASES), 3.0)
    rows = by_rows(trials, torch.zeros(4, WEIGHTS + BIASES), grads, np.ones((1, 4)))
    whole = float(grads[0, 0].norm())
    assert rows.norm(dim=1).tolist() == pytest.approx([1.0, whole, 0.25, whole], rel=1e-5)


def test_a_diverged_row_does_not_spoil_the_others() -> None:
    for name in ROW_OPTIMIZERS:
        trials = [replace(settings_of(optimizer=name, weight_decay=0.1), clip_norm=1.0)] * 3
        starts, grads, rates = problem(trials, 0)
        clean = by_rows(trials, starts, grads, rates)
        grads[3, 1] = float("nan")
        spoilt = by_rows(trials, starts, grads, rates)
        assert spoilt[1].isnan().all()
        assert torch.equal(spoilt[[0, 2]], clean[[0, 2]])


def test_what_no_trial_uses_costs_no_operation() -> None:
    plain = RowOptimizer([settings_of()], num_decayed=1)
    assert [plain.uses_weight_decay, plain.uses_l1, plain.uses_clipping] == [False] * 3
