"""L1 that selects: weights are zero where scikit-learn's lasso and elastic net have them so, in both ways to train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import ElasticNet
from torch import Tensor

from tests.train.cohorts import curves, digits, jobs, make_task, run_cohort
from tests.train.test_optimizers import by_rows, by_torch, problem
from tests.train.trials import settings_of
from tuner.paths import TrialPaths
from tuner.records import TrialFinished
from tuner.train.loop.sparsity import sparsity
from tuner.train.rows.optimizers import ROW_OPTIMIZERS
from tuner.train.rows.proximal import pull_to_zero
from tuner.train.settings import Settings


def solved(trial: Settings, x_NP: Tensor, y_N: Tensor, *, steps: int) -> Tensor:
    """Linear regression by full batches, 1 / 2 of the mean squared error, on rows."""
    optimizer = ROW_OPTIMIZERS[trial.optimizer]([trial], num_decayed=x_NP.shape[1])
    w_KP = torch.zeros(1, x_NP.shape[1])
    moments = {name: torch.zeros_like(w_KP) for name in optimizer.moments}
    table = optimizer.scalars(np.full((steps, 1), trial.learning_rate), np.arange(steps)[:, None])
    for step in range(steps):
        scalars = {name: torch.tensor(value[step], dtype=torch.float32)[:, None] for name, value in table.items()}
        optimizer.step(w_KP, ((x_NP @ w_KP[0] - y_N) @ x_NP / len(x_NP))[None], moments, scalars)
    return w_KP[0]


@pytest.mark.parametrize(
    "params",
    [
        {"momentum": 0.0},
        {"momentum": 0.9, "learning_rate": 0.02},
        {"momentum": 0.9, "dampening": "auto", "bias_correction": True},
        {"momentum": 0.5, "weight_decay": 0.1},
    ],
)
def test_its_zeros_and_weights_are_those_of_lasso_and_elastic_net(params: dict[str, float | str]) -> None:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((80, 16))
    y = x[:, :4] @ np.array([2.0, -1.0, 0.5, 0.2]) + 0.5 * draw.standard_normal(80)
    trial = settings_of(**{"learning_rate": 0.2, "l1": 0.15, "l1_step": "proximal"} | params)
    total = trial.l1 + trial.weight_decay
    theirs = ElasticNet(alpha=total, l1_ratio=trial.l1 / total, fit_intercept=False, tol=1e-10).fit(x, y).coef_
    ours = solved(trial, torch.tensor(x).float(), torch.tensor(y).float(), steps=400).numpy()
    assert 8 < (theirs == 0).sum() < 16
    assert ((ours == 0) == (theirs == 0)).all()
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_the_threshold_is_soft_and_keeps_what_is_no_number() -> None:
    weights = torch.tensor([-2.0, -0.5, -0.1, 0.0, 0.3, 0.5, 2.0, float("nan")])
    pull_to_zero(weights, torch.tensor(0.5))
    torch.testing.assert_close(weights[:-1], torch.tensor([-1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 1.5]))
    assert weights[-1].isnan()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "lion"])
def test_with_adam_and_its_kin_each_step_pulls_by_the_rate_times_l1(optimizer: str) -> None:
    trial = settings_of(optimizer=optimizer, learning_rate=0.01, l1=0.5, l1_step="proximal", weight_decay=0.1)
    without = settings_of(optimizer=optimizer, learning_rate=0.01, weight_decay=0.1)
    starts, grads, rates = problem([trial], 2)
    (found,) = by_rows([trial], starts, grads[:1], rates[:1])
    expected = by_torch(without, starts[0], grads[:1, 0], rates[:1, 0]).double()
    expected[:64] = expected[:64].sign() * (expected[:64].abs() - 0.01 * 0.5).clamp_min(0.0)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_a_trial_without_l1_keeps_its_bits_beside_one_with_it() -> None:
    trials = [settings_of(l1=value, l1_step="proximal") for value in (0.0, 0.1)]
    starts, grads, rates = problem(trials, 3)
    alone = by_rows(trials[:1], starts[:1], grads[:, :1], rates[:, :1])
    assert torch.equal(by_rows(trials, starts, grads, rates)[0], alone[0])


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "tests/train/user_modules.py:two_layers"])
def test_fused_and_plain_make_the_same_zeros_which_are_told(model: str, tmp_path: Path) -> None:
    params = [{"learning_rate": 0.05, "l1": l1, "momentum": 0.5, "dropout": 0.0} for l1 in (0.0, 1e-2, 5e-2)]
    weights, told = {}, {}
    for fuse in ("auto", "off"):
        task = make_task(model=model, fuse=fuse, l1_step="proximal")
        events = run_cohort(task, members := jobs(tmp_path / fuse, params))
        weights[fuse] = [torch.load(TrialPaths(Path(job.folder)).weights, weights_only=True) for job in members]
        told[fuse] = {event.trial: event.facts for event in events if isinstance(event, TrialFinished)}
        if fuse == "auto":
            together = curves(events)
        else:
            for trial, curve in curves(events).items():
                ours = [result.dev_loss for result in together[trial]]
                assert ours == pytest.approx([result.dev_loss for result in curve], rel=1e-4)
    for ours, plain in zip(weights["auto"], weights["off"], strict=True):
        for name, value in plain.items():
            torch.testing.assert_close(ours[name], value, rtol=1e-3, atol=1e-4)
    shares = [told["auto"][trial].get("zero_weights") for trial in range(3)]
    assert shares[0] is None
    assert 0.0 < shares[1] < shares[2] < 1.0
    assert told["auto"][2]["num_inputs"] == 64
    first = next(w for w in weights["auto"][2].values() if w.dim() == 2)
    assert told["auto"][2]["num_ignored_inputs"] == int((first == 0).all(dim=0).sum())


def test_ignored_inputs_are_those_that_no_unit_reads() -> None:
    weight = torch.ones(5, 64)
    weight[:, [0, 9]] = 0.0
    weight[2, 30] = 0.0
    found = sparsity({"1.weight": weight, "1.bias": torch.zeros(5), "2.weight": torch.zeros(2, 5)}, digits().info)
    assert found == {
        "zero_weights": (2 * 5 + 1 + 10) / (5 * 64 + 10),
        "num_ignored_inputs": 2,
        "num_inputs": 64,
        "ignored_inputs": ["0/0", "1/1"],
    }
    convolution = {"0.weight": torch.zeros(4, 1, 3, 3)}
    assert sparsity(convolution, digits().info) == {"zero_weights": 1.0}
