"""Widths, dropout and penalties by layer: as PyTorch has them, the same in a program and by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.train.cohorts import curves, digits, figures, jobs, make_task, run_cohort
from tests.train.test_optimizers import WEIGHTS, by_rows, by_torch, problem
from tests.train.trials import settings_of
from tuner.errors import DataError
from tuner.models.build import build_module
from tuner.models.layers.dropout import keyed_dropouts
from tuner.paths import TrialPaths
from tuner.records import Params, ParamValue, TrialFinished, TrialJob
from tuner.train.programs.torch_optimizers import make_optimizer
from tuner.train.rows.optimizers import ROW_OPTIMIZERS
from tuner.train.rows.penalties import penalties

SHAPES = {"1.weight": (40, 64), "1.bias": (40,), "2.weight": (40,), "4.weight": (20, 40), "7.weight": (10, 20)}
LISTED: Params = {"learning_rate": 0.05, "weight_decay": "[0.03, 0.0, 0.01]", "l1": "[0.0, 0.002, 0.0004]"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.5, {"1.weight": 0.5, "4.weight": 0.5, "7.weight": 0.5}),
        ("[0.1, 0, 0.3]", {"1.weight": 0.1, "4.weight": 0.0, "7.weight": 0.3}),
        ('{"4.*": 0.2, "7": 0.1}', {"1.weight": 0.0, "4.weight": 0.2, "7.weight": 0.1}),
        ('{"4.*": 0.2, "*": 0.1}', {"1.weight": 0.1, "4.weight": 0.2, "7.weight": 0.1}),
    ],
)
@pytest.mark.parametrize("penalty", ["weight_decay", "l1"])
def test_each_weight_has_the_number_of_its_layer_or_of_the_first_pattern_that_fits(
    penalty: str, given: ParamValue, expected: Mapping[str, float]
) -> None:
    settings = settings_of(**{penalty: given})
    assert getattr(settings, penalty) == max(expected.values())
    assert penalties(settings, penalty, SHAPES) == expected


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("[0.1, 0.2]", r"l1: \[0.1, 0.2\] lists 2 layers, and the network has 3 with weights \(1.weight, 4.weight, "
         r"7.weight\); give a number for each, or name them: \{1.weight: 0.1\}"),
        ('{"2.*": 0.1, "fc": 1}', "l1: no parameter is called fc; the network has 1.weight"),
    ],
)  # fmt: skip
def test_what_the_network_does_not_have_is_refused(given: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        penalties(settings_of(l1=given), "l1", SHAPES)


def test_a_trial_is_refused_before_it_begins_and_a_list_of_rates_when_its_network_is_built(tmp_path: Path) -> None:
    task = make_task()
    (job,) = jobs(tmp_path, [{"weight_decay": "[0.1, 0.2]"}])
    with pytest.raises(DataError, match=r"weight_decay: .* lists 2 layers"):
        task.member(job)
    (job,) = jobs(tmp_path, [{"dropout": "[0.1, 0.2, 0.3]"}])
    with pytest.raises(DataError, match=r"dropout: \[0.1, 0.2, 0.3\] lists 3 rates, and the network has 2"):
        task.member(job).make_module()


@pytest.mark.parametrize("optimizer", sorted(ROW_OPTIMIZERS))
def test_rows_are_decayed_as_groups_of_torch_optim_are(optimizer: str) -> None:
    """Half of a row's weights at another decay, beside a row without any, whose bits stay."""
    trials = [settings_of(optimizer=optimizer, learning_rate=0.01, weight_decay=decay) for decay in (0.3, 0.0)]
    starts, grads, rates = problem(trials, 3)
    share_KP = torch.ones(2, WEIGHTS)
    share_KP[0, : WEIGHTS // 2] = 0.1
    ours = by_rows(trials, starts, grads, rates, shares={"weight_decay": share_KP})
    halves = [settings_of(optimizer=optimizer, learning_rate=0.01, weight_decay=decay) for decay in (0.03, 0.3)]
    light, heavy = (by_torch(half, starts[0], grads[:, 0], rates[:, 0]) for half in halves)
    expected = torch.cat([light[: WEIGHTS // 2], heavy[WEIGHTS // 2 :]])
    torch.testing.assert_close(ours[0], expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(ours[1], by_rows(trials[1:], starts[1:], grads[:, 1:], rates[:, 1:])[0])


def test_a_module_has_a_group_for_each_decay() -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    made = make_optimizer(module, settings_of(weight_decay="[0.1, 0, 0.1]"))
    assert [(group["weight_decay"], len(group["params"])) for group in made.param_groups] == [(0.1, 2), (0, 1), (0, 3)]


def reference(start: Mapping[str, Tensor], *, steps: int, rate: float) -> dict[str, Tensor]:
    """Full-batch gradient descent of the whole cost in float64, by autograd: nothing of tuner's."""
    data = digits()
    x, y = data.train.inputs.flatten(1).double(), data.train.targets
    w = {name: t.double().clone().requires_grad_() for name, t in start.items()}
    for _ in range(steps):
        hidden = torch.relu(x @ w["1.weight"].T + w["1.bias"])
        hidden = torch.relu(hidden @ w["4.weight"].T + w["4.bias"])
        cost = nn.functional.cross_entropy(hidden @ w["7.weight"].T + w["7.bias"], y)
        cost = cost + 0.5 * (0.03 * w["1.weight"].square().sum() + 0.01 * w["7.weight"].square().sum())
        cost = cost + 0.002 * w["4.weight"].abs().sum() + 0.0004 * w["7.weight"].abs().sum()
        gradients = torch.autograd.grad(cost, list(w.values()))
        w = {n: (t - rate * g).detach().requires_grad_() for (n, t), g in zip(w.items(), gradients, strict=True)}
    return w


@pytest.mark.slow
@pytest.mark.parametrize("fuse", ["auto", "off"])
def test_training_is_that_of_a_cost_with_penalties_by_layer_in_float64(fuse: str, tmp_path: Path) -> None:
    task = make_task(settings={"hidden_units": "[40, 20]"}, batch_size="full", epochs=5, fuse=fuse)
    plain_descent: Params = {**LISTED, "momentum": 0.0}
    (job, _) = members = jobs(tmp_path, [plain_descent, {**plain_descent, "l1": "[0, 0, 0.1]"}], to_epoch=5)
    start = {name: t.detach() for name, t in task.member(job).make_module().named_parameters()}
    events = run_cohort(task, members)
    kept = torch.load(TrialPaths(Path(job.folder)).weights, weights_only=True)
    assert sum(isinstance(e, TrialFinished) for e in events) == 2
    epoch = max(curves(events)[0], key=lambda result: (result.dev_metric, -result.epoch)).epoch
    for name, value in reference(start, steps=epoch, rate=0.05).items():
        torch.testing.assert_close(kept[name].double(), value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "proximal"])
def test_fused_and_plain_give_the_same_curves_with_everything_by_layer(optimizer: str, tmp_path: Path) -> None:
    own = {"l1_step": "proximal"} if optimizer == "proximal" else {"optimizer": optimizer}
    rate = 0.002 if optimizer == "adamw" else 0.05
    configurations: list[Params] = [
        {**LISTED, "learning_rate": rate, "dropout": dropout} for dropout in ("[0.1, 0.4]", 0.2, 0.0, "[0.0, 0.5]")
    ]
    runs = {}
    for fuse in ("auto", "off"):
        task = make_task(settings={"hidden_units": "[40, 20]", "norm": "batch"}, fuse=fuse, **own)
        runs[fuse] = curves(run_cohort(task, jobs(tmp_path / fuse, configurations)))
        if fuse == "auto":
            (alone,) = jobs(tmp_path / "alone", configurations[:1])
            assert figures(curves(run_cohort(task, [alone]))[0]) == figures(runs[fuse][0])
    for trial in range(4):
        for ours, plain in zip(runs["auto"][trial], runs["off"][trial], strict=True):
            assert ours.dev_loss == pytest.approx(plain.dev_loss, rel=2e-4 if optimizer != "adamw" else 1e-2)


@pytest.mark.slow
def test_a_users_module_has_penalties_by_name_fused_and_plain(tmp_path: Path) -> None:
    params: list[Params] = [
        {"learning_rate": 0.05, "dropout": 0.0, "l1": '{"*.weight": 0.001}', "weight_decay": "[0.1, 0.0]"},
        {"learning_rate": 0.02, "dropout": 0.0, "l1": '{"*.weight": 0.01}', "weight_decay": "[0.0, 0.1]"},
    ]
    runs = {}
    for fuse in ("require", "off"):
        task = make_task(model="tests/train/user_modules.py:two_layers", fuse=fuse)
        runs[fuse] = curves(run_cohort(task, jobs(tmp_path / fuse, params)))
    for trial in range(2):
        for ours, plain in zip(runs["require"][trial], runs["off"][trial], strict=True):
            assert ours.dev_loss == pytest.approx(plain.dev_loss, rel=1e-4)


def test_a_built_network_drops_at_the_rates_of_its_layers() -> None:
    task = make_task(settings={"hidden_units": "[40, 20, 10]"}, dropout="[0.0, 0.25, 0.5]")
    member = task.member(TrialJob(trial=0, params={}, seed=1, to_epoch=1, folder="/nowhere"))
    assert member.network is not None
    assert member.network.hidden_widths == [40, 20, 10]
    module = build_module(task.spec, member.settings.model, task.info, seed=1)
    assert [float(1 - 1 / layer.scale) for layer in keyed_dropouts(module)] == pytest.approx([0.0, 0.25, 0.5])
