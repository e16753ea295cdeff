"""The rehearsal of a network before a sweep: each check passes on a good module and fails on one broken that way."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.train.cohorts import diabetes, digits, jobs, make_spec, make_task
from tests.train.trials import settings_of
from tuner.data.dataset import Split
from tuner.spec.model import DimensionSpec
from tuner.train.before.checks import (
    Check,
    baseline,
    check_falls,
    check_gradients,
    check_initial_loss,
    check_initial_weights,
    check_last_batch,
    check_outputs,
    check_overfits,
    check_scales,
    run_checks,
)
from tuner.train.before.scales import measure_scales, scales_of_choices
from tuner.train.program import Member
from tuner.train.task import Task

TASK = make_task()
BATCH = Split(digits().train.inputs[:32], digits().train.targets[:32])


def good() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def member(module: nn.Module) -> Member:
    return Member(0, settings_of(), None, lambda: module)


class Detached(nn.Module):
    """Its first layer gets no gradient through the part that it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 32), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x.flatten(1))
        return self.last(torch.tanh(hidden).detach() + 0.1 * hidden)


class WrongBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def backward(ctx: object, *grads: Tensor) -> Tensor:
        return grads[0]


class Squared(nn.Module):
    """Has a custom function whose backward forgets the factor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = WrongBackward.apply(self.layer(x.flatten(1)))
        return found


class Wide(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def filled(module: nn.Module, value: float) -> nn.Module:
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)
    return module


def scaled(module: nn.Module, factor: float) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(factor)
    return module


def frozen(module: nn.Module) -> nn.Module:
    for parameter in list(module.parameters())[:-1]:
        parameter.requires_grad_(False)
    return filled_but_last(module)


def filled_but_last(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in list(module.parameters())[:-1]:
            parameter.zero_()
    return module


def deep_and_small() -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(12):
        layers += [nn.Linear(64, 64), nn.Sigmoid()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


@pytest.mark.slow
def test_a_good_network_passes_every_check(tmp_path: Path) -> None:
    for model in ("mlp", "cnn", "tests/train/user_modules.py:two_layers"):
        job = jobs(tmp_path, [{"learning_rate": 0.01, "dropout": 0.5}])[0]
        checks = run_checks(make_task(model=model), job, gradients=True)
        assert [c.name for c in checks] == [
            "forward pass", "initial loss", "scale per layer", "gradients", "cost falls", "overfits one batch",
        ]  # fmt: skip
        assert [c.name for c in checks if not c.passed] == []


@pytest.mark.slow
def test_a_good_regression_passes_every_check(tmp_path: Path) -> None:
    job = jobs(tmp_path, [{"learning_rate": 0.01}])[0]
    checks = run_checks(make_task(diabetes()), job, gradients=True)
    assert [c.name for c in checks if not c.passed] == []


@pytest.mark.slow
def test_checks_train_nothing_and_leave_no_files(tmp_path: Path) -> None:
    job = jobs(tmp_path, [{"learning_rate": 0.01}])[0]
    assert run_checks(TASK, job, gradients=False) == run_checks(TASK, job, gradients=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "finding"),
    [
        (Wide(), r"outputs of shape (32, 64) for 32 examples"),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Flatten(0)), r"outputs of shape (320,) for 32 examples"),
        (nn.Linear(7, 10), "RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
    ],
)
def test_a_wrong_shape_is_told_with_the_right_one(module: nn.Module, finding: str) -> None:
    check = check_outputs(TASK, module, BATCH)
    assert not check.passed
    assert finding in check.finding
    assert check_outputs(TASK, good(), BATCH).passed
    if "outputs" in finding:
        assert check.advice == "the module must return logits for each class: shape (32, 10)"


def test_a_module_with_nothing_to_train_is_told() -> None:
    check = check_outputs(TASK, good().requires_grad_(False), BATCH)
    assert (check.passed, check.finding) == (False, "no parameter requires a gradient")


class InPlace(nn.Module):
    """Changes what its backward pass needs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.sigmoid(self.layer(x.flatten(1)))
        z = y * y
        y.mul_(2.0)
        return z


def test_what_a_module_raises_in_its_backward_pass_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    task = make_task()
    monkeypatch.setattr(task, "member", lambda job: Member(0, settings_of(), None, InPlace))
    checks = run_checks(task, jobs(tmp_path, [{}])[0], gradients=True)
    failed = [c for c in checks if not c.passed]
    assert [c.name for c in failed] == ["scale per layer", "gradients", "cost falls", "overfits one batch"]
    assert ["modified by an inplace operation" in c.finding for c in failed] == [True] * 4, failed


def test_after_a_wrong_shape_nothing_else_is_tried(tmp_path: Path) -> None:
    (tmp_path / "wide.py").write_text("from torch import nn\ndef build(params, data):\n    return nn.Flatten()\n")
    task = make_task(model="wide.py:build", root=str(tmp_path))
    checks = run_checks(task, jobs(tmp_path, [{}])[0], gradients=True)
    assert [(c.name, c.passed) for c in checks] == [("forward pass", False)]


@pytest.mark.parametrize(("factor", "passed"), [(1.0, True), (0.01, True), (30.0, False), (1e4, False)])
def test_a_fresh_network_is_about_as_wrong_as_a_guess(factor: float, passed: bool) -> None:
    check = check_initial_loss(TASK, scaled(good(), factor), BATCH)
    assert check.passed == passed
    assert f"a guess has {math.log(10):.3f}" in check.finding


@pytest.mark.parametrize(
    ("module", "passed"),
    [
        (good(), True),
        (filled(good(), 0.0), False),
        (scaled(good(), 1e4), False),
        (scaled(good(), 1e-4), False),
        (deep_and_small(), False),
        (scaled(good(), float("nan")), False),
    ],
    ids=["good", "zeros", "huge", "tiny", "vanishing gradients", "not a number"],
)
def test_activations_and_gradients_keep_their_scale(module: nn.Module, passed: bool) -> None:
    check = check_scales(TASK, module, BATCH)
    assert check.passed == passed, check.finding
    assert all(p.grad is None for p in module.parameters())


FLAT = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 10))
SPATIAL = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))


@pytest.mark.parametrize(
    ("module", "last", "values", "passed"), [(FLAT, 3, 3, False), (FLAT, 8, 8, True), (SPATIAL, 3, 3 * 36, True)]
)
def test_batch_norm_has_enough_to_take_a_variance_of_in_the_last_mini_batch(
    module: nn.Module, last: int, values: int, passed: bool
) -> None:
    check = check_last_batch(module, BATCH, last=last)
    assert check.passed is passed
    assert check.finding == f"{last} examples, so that batch norm takes mean and variance of {values} values"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("norm", "batch_size", "told"), [("batch", 42, True), ("batch", 50, False), ("none", 42, False)]
)
def test_a_crumb_of_a_last_mini_batch_is_told_where_there_is_batch_norm(
    norm: str, batch_size: int, told: bool, tmp_path: Path
) -> None:
    """300 examples are 7 batches of 42 and one of 6."""
    task = make_task(settings={"norm": norm}, batch_size=batch_size)
    found = {check.name: check.passed for check in run_checks(task, jobs(tmp_path, [{}])[0], gradients=False)}
    assert (found.get("last mini-batch") is False) is told


@pytest.mark.parametrize(
    ("module", "passed"),
    [(good(), True), (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), True), (Detached(), False), (Squared(), False)],
    ids=["good", "linear", "detached", "wrong backward"],
)
def test_gradients_are_those_of_the_loss(module: nn.Module, passed: bool) -> None:
    check = check_gradients(TASK, member(module), BATCH)
    assert check.passed == passed, check.finding
    if not passed:
        assert "is not that of its loss" in check.advice


def test_the_gradient_of_a_layer_that_hangs_in_the_air_is_wrong() -> None:
    """A layer that changes the outputs, but whose every path to the loss is detached, has no gradient at all."""

    class Cut(Detached):
        def forward(self, x: Tensor) -> Tensor:
            return self.last(torch.tanh(self.first(x.flatten(1))).detach())

    check = check_gradients(TASK, member(Cut()), BATCH)
    assert not check.passed
    assert "first" in check.finding


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "passed"),
    [(good(), True), (frozen(good()), False), (filled(good(), 0.0), False)],
    ids=["good", "frozen", "zeros"],
)
def test_a_network_that_can_learn_overfits_sixteen_examples(module: nn.Module, passed: bool) -> None:
    check = check_overfits(TASK, member(module), BATCH)
    assert check.passed == passed, check.finding


def test_a_parameter_that_the_loss_does_not_depend_on_has_a_right_gradient() -> None:
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(64, 10), nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = self.used(x.flatten(1))
            return found

    assert check_gradients(TASK, member(Spare()), BATCH).passed


def test_the_baseline_of_classes_is_the_share_of_the_commonest() -> None:
    data = digits()
    commonest = int(data.train.targets.bincount().argmax())
    assert baseline(TASK) == pytest.approx(float((data.dev.targets == commonest).float().mean()))


def test_the_baseline_of_targets_is_their_mean() -> None:
    data = diabetes()
    task: Task = make_task(data)
    error = (data.dev.targets - data.train.targets.mean()).square().mean().sqrt() * data.info.target_std[0]
    assert baseline(task) == pytest.approx(float(error), rel=1e-5)


def test_a_check_is_a_value() -> None:
    assert Check("a", True, "b") == Check("a", True, "b", "")


def test_a_gradient_is_checked_in_training_mode_through_batch_norm_with_dropout_off() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(), nn.Linear(16, 10)
    )
    check = check_gradients(TASK, member(module), BATCH)
    assert check.passed, check.finding
    assert "over 6 tensors: 1.weight " in check.finding
    assert float(module[2].running_mean.abs().sum()) > 0, "not in training mode"


@pytest.mark.parametrize(
    ("rate", "optimizer", "falls"),
    [(0.01, "sgd", True), (5.0, "sgd", False), (800.0, "sgd", False), (0.001, "adam", True), (1.0, "adam", False)],
)
def test_without_noise_the_cost_falls_with_every_step_if_not_at_the_default_rate_then_at_a_lower_one(
    rate: float, optimizer: str, falls: bool
) -> None:
    settings = settings_of(learning_rate=rate, optimizer=optimizer, dropout=0.5)
    check = check_falls(TASK, Member(0, settings, None, good), BATCH)
    assert check.passed, check.finding
    assert (f"at {rate:g}, the default, it rose at step" in check.finding) != falls


def test_the_cost_of_a_gradient_that_points_the_wrong_way_does_not_fall() -> None:
    class Reversed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: object, *grads: Tensor) -> Tensor:
            return -grads[0]

    class Wrong(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = good()

        def forward(self, x: Tensor) -> Tensor:
            found: Tensor = Reversed.apply(self.inner(x))
            return found

    assert not check_falls(TASK, member(Wrong()), BATCH).passed


def test_each_init_that_is_searched_is_told_with_its_variances_and_whether_to_avoid_it(tmp_path: Path) -> None:
    def told(*choices: str) -> dict[str, Check]:
        spec = make_spec(settings={"hidden_layers": 2, "activation": "tanh"})
        spec = spec.model_copy(update={"space": {"init": DimensionSpec(choices=list(choices))}})
        task = Task(spec, digits(), torch.device("cpu"))
        (job,) = jobs(tmp_path, [{"init": choices[0]}])
        return {c.name: c for c in check_initial_weights(scales_of_choices(task, job, BATCH))}

    found = told("xavier", "lecun", "zero", "normal")
    assert list(found) == ["init xavier", "init lecun", "init zero", "init normal"]
    assert all(c.passed for c in found.values()), "one that is sound is enough"
    assert found["init zero"].finding.startswith("avoid it, symmetric, all units of a layer alike (1, 4, 7); variance")
    assert found["init normal"].finding.startswith("avoid it, exploding, or saturating what follows")
    assert found["init lecun"].finding.startswith("sound; variance of activations by layer 1: ")
    assert not any(c.passed for c in told("zero", "normal").values())
    assert scales_of_choices(TASK, jobs(tmp_path, [{}])[0], BATCH) == {}


def test_the_scales_of_a_layer_are_those_of_its_outputs_and_gradients() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    found = measure_scales(TASK, module, BATCH)
    outputs = module(BATCH.inputs)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(outputs, BATCH.targets), [module[1].weight])
    assert found.spreads == {"1": pytest.approx(float(outputs.detach().double().std()), rel=1e-5)}
    assert found.variances == {"1": pytest.approx(float(gradient.double().var()), rel=1e-4)}
    assert found.norms == {"1": pytest.approx(float(gradient.norm()), rel=1e-5)}
    assert found.alike == []


def test_a_draw_of_initial_weights_that_is_far_off_by_chance_is_no_fault_of_the_network() -> None:
    def drawn(factor: float) -> nn.Module:
        return scaled(good(), factor)

    chance = check_initial_loss(TASK, drawn(300.0), BATCH, again=map(drawn, (1.0, 300.0, 1.0, 1.0)))
    assert chance.passed
    assert "in the median of 5 draws of the initial weights" in chance.finding
    assert not check_initial_loss(TASK, drawn(300.0), BATCH, again=map(drawn, (300.0, 1.0, 300.0, 300.0))).passed
    asked: list[nn.Module] = []
    assert check_initial_loss(
        TASK, drawn(1.0), BATCH, again=(asked.append(drawn(1.0)) or asked[0] for _ in range(4))
    ).passed
    assert not asked


@pytest.mark.slow
def test_zero_and_normal_initial_weights_are_seen_to_fail(tmp_path: Path) -> None:
    failed = {}
    for init in ("auto", "zero", "normal", "orthogonal"):
        task = make_task(init=init, settings={"hidden_layers": 3})
        failed[init] = {c.name for c in run_checks(task, jobs(tmp_path, [{}])[0], gradients=False) if not c.passed}
    assert failed["auto"] == failed["orthogonal"] == set()
    assert {"scale per layer", "overfits one batch"} <= failed["zero"]
    assert {"initial loss", "scale per layer"} & failed["normal"]
