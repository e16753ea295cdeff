"""Recorded steps give the bits of those that Python runs."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.depth import at_depth
from tests.models.networks import cnns, mlps, tabulars
from tests.train.test_stacked import NUM_TRAIN, split_for, stacked
from tests.train.trials import member_of, plan_of, settings_of
from tuner.models.network import Network
from tuner.train.replay import replay as module
from tuner.train.replay.replay import ReplayedStep
from tuner.train.replay.torchscript import _compiled

STEPS = torch.arange(6.0)[:, None] + torch.tensor([0.0, 0.5, 0.25])


def run(step: Callable[[Tensor, Tensor], object], *, record_after: int | None) -> tuple[Tensor, ReplayedStep]:
    """The state after six steps, each of which reads its number."""
    state, read = torch.ones(3), torch.zeros(3)
    replayed = ReplayedStep(
        lambda: step(state, read), reads=[read], state=[state], num_trials=1,
        script_after=record_after, kernels_after=None,
    )  # fmt: skip
    replayed.run([STEPS], 0, 4)
    replayed.run([STEPS], 4, 6)
    return state, replayed


def arithmetic(state: Tensor, read: Tensor) -> None:
    state.mul_(0.5).add_(read, alpha=0.1)
    torch.add(state, 1.0, out=state)


def temporaries(state: Tensor, read: Tensor) -> None:
    found = torch.stack([state.exp(), read]).t()
    found[:, 0] += read.sum()
    state.copy_(found.sum(dim=1).clamp(max=float("inf")).to(torch.float64))


def through_autograd(state: Tensor, read: Tensor) -> None:
    leaf = state.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(torch.nn.functional.softplus(leaf * read).square().mean(), [leaf])
    state.sub_(gradient)


def several_results(state: Tensor, read: Tensor) -> None:
    values, order = torch.sort(state + read, descending=True)
    largest, _ = values.unbind()[0], order
    state[1:].copy_(values[1:] / largest)


def numbers(state: Tensor, read: Tensor) -> None:
    state.mul_(torch.tensor(3, dtype=torch.int32)).add_(2 * read).remainder_(7)


def norms(state: Tensor, read: Tensor) -> None:
    """What changes a tensor and gives results as well."""
    found = torch.nn.functional.batch_norm(torch.outer(read + 1.0, read), state, state.exp(), training=True)
    state.add_(found.select(0, 1)).squeeze_().unsqueeze(0).relu_()


@pytest.mark.parametrize("step", [arithmetic, temporaries, through_autograd, several_results, numbers, norms])
@pytest.mark.parametrize("record_after", [0, 3])
def test_a_recorded_step_computes_the_same(step: Callable[[Tensor, Tensor], object], record_after: int) -> None:
    expected, _ = run(step, record_after=None)
    assert not torch.equal(expected, torch.ones(3))
    found, replayed = run(step, record_after=record_after)
    assert torch.equal(found, expected)
    assert replayed.recorded


def test_python_no_longer_runs_once_a_step_is_recorded() -> None:
    calls: list[int] = []

    def step(state: Tensor, read: Tensor) -> None:
        calls.append(1)
        state.add_(read)

    state, _ = run(step, record_after=2)
    assert len(calls) == 3
    assert state.tolist() == [16.0, 19.0, 17.5]


def test_a_step_with_a_large_state_is_left_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, recorded = run(arithmetic, record_after=2)
    monkeypatch.setattr(module, "_MOST_STATE_BYTES", 8)
    found, left = run(arithmetic, record_after=2)
    assert torch.equal(found, expected)
    assert (recorded.recorded, left.recorded) == (True, False)


def test_steps_that_differ_in_sizes_only_are_compiled_once() -> None:
    def train(size: int) -> int:
        state, read = torch.ones(size, 9), torch.zeros(3)
        replayed = ReplayedStep(
            lambda: state.copy_((state.view(3, -1).sum(dim=1) + read).repeat(3 * size).view(size, 9)),
            reads=[read], state=[state], num_trials=1, script_after=0, kernels_after=None,
        )  # fmt: skip
        replayed.run([STEPS], 0, 3)
        assert replayed.recorded
        return _compiled.cache_info().misses

    first = train(6)
    assert train(12) == train(24) == first


def doubled(x: Tensor) -> Tensor:
    return x + x


def test_nothing_is_warned_of_on_pythons_for_which_torch_gives_its_compiler_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 3.14 on PyTorch warns whoever has Python's code compiled, of which a recording has none."""
    monkeypatch.setattr(sys, "version_info", (3, 14, 0, "final", 0))
    with pytest.warns(DeprecationWarning, match=r"3\.14"):
        torch.jit.script(doubled)
    _, replayed = run(lambda state, read: state.mul_(0.3).add_(read, alpha=0.7), record_after=0)
    assert replayed.recorded


def looks_at_values(state: Tensor, read: Tensor) -> None:
    state.add_(1.0)
    state.mul_(2.0 if float(read[0]) > 2 else 1.0)


def draws(state: Tensor, read: Tensor) -> None:
    state.add_(1.0)
    torch.rand(3)


@pytest.mark.parametrize("step", [looks_at_values, draws])
def test_what_a_recording_cannot_hold_stays_with_python(step: Callable[[Tensor, Tensor], object]) -> None:
    """The first half of a step that could not be recorded is undone, not done twice."""
    expected, _ = run(step, record_after=None)
    found, replayed = run(step, record_after=2)
    assert torch.equal(found, expected)
    assert not replayed.recorded


@pytest.mark.slow
@given(
    network=st.one_of(mlps(), cnns(), tabulars()),
    optimizer=st.sampled_from(["sgd", "rmsprop", "adam", "adamw"]),
    extras=st.sampled_from([{}, {"l1": 1e-3, "weight_decay": 1e-2}, {"dropout": 0.3}]),
    num_trials=st.integers(1, 3),
)
@settings(max_examples=at_depth(25), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_recorded_networks_train_alike(
    network: Network, optimizer: str, extras: dict[str, float], num_trials: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run by Python, as TorchScript, and by the compiled kernels where they know all of the step."""
    trial = settings_of(learning_rate=0.01, batch_size=8, num_train=NUM_TRAIN, optimizer=optimizer, **extras)
    members = [member_of(network, trial, seed=k) for k in range(num_trials)]
    train = split_for(network, loss="cross_entropy")
    found = []
    for kernels_after, script_after in ((None, None), (None, 1), (1, None)):
        monkeypatch.setattr("tuner.train.programs.stacked.program.KERNELS_AFTER_RUNS", kernels_after)
        monkeypatch.setattr("tuner.train.programs.stacked.evaluator.KERNELS_AFTER_RUNS", 0 if kernels_after else None)
        monkeypatch.setattr("tuner.train.programs.stacked.program.SCRIPT_AFTER_RUNS", script_after)
        program = stacked(members, train, "cross_entropy")
        for epoch in range(2):
            plan = plan_of(members, num_train=NUM_TRAIN, epoch=epoch)
            program.train_steps(plan, 0, len(plan.step_SK))
        found.append(([program.state(row) for row in range(num_trials)], program.outputs(train.inputs)))
    (expected, outputs), *others = found
    for states, own_outputs in others:
        assert torch.equal(own_outputs, outputs)
        for ours, theirs in zip(states, expected, strict=True):
            assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
