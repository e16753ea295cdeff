"""The compiled kernels compute the bits of PyTorch, and where they cannot be had, nothing changes but the speed."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.depth import at_depth
from tests.train.test_stacked import NUM_TRAIN, split_for, stacked
from tests.train.trials import member_of, plan_of, settings_of
from tuner.models.cnn import cnn
from tuner.models.layers.activations import Activation
from tuner.models.layers.dense import Dense
from tuner.models.layers.dropout import Dropout
from tuner.models.layers.norms import norm_layers
from tuner.models.network import Network
from tuner.train.programs.stacked.program import StackedProgram
from tuner.train.replay.native import library as native
from tuner.train.replay.native import side_by_side, translation
from tuner.train.replay.replay import ReplayedStep

needs_kernels = pytest.mark.skipif(
    native.unavailable_reason() is not None, reason=f"no compiled kernels: {native.unavailable_reason()}"
)


def dense(widths: list[int], *, activation: str = "relu", norm: str = "none", dropout: bool = False) -> Network:
    layers: list[object] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers += [Dense(inputs, outputs), *norm_layers(norm, outputs), Activation(activation)]
        layers += [Dropout()] if dropout else []
    return Network(layers=(*layers, Dense(widths[-2], widths[-1])), input_shape=(widths[0],))  # type: ignore[arg-type]


def trained(network: Network, *, loss: str, trials: int, **settings: object) -> StackedProgram:
    """A program that has trained two epochs, so that its steps are in the hands of the kernels if they know them."""
    found = settings_of(num_train=NUM_TRAIN, **settings)
    members = [member_of(network, found, seed=seed) for seed in range(trials)]
    program = stacked(members, split_for(network, loss=loss), loss)
    for epoch in range(2):
        plan = plan_of(members, num_train=NUM_TRAIN, epoch=epoch)
        program.train_steps(plan, 0, len(plan.step_SK))
    return program


def whole_step(program: StackedProgram) -> ReplayedStep:
    return program._steps[program.batch_size]._replayed


@pytest.mark.slow
@needs_kernels
@given(
    widths=st.lists(st.integers(1, 70), min_size=2, max_size=4),
    activation=st.sampled_from(["relu", "leaky_relu", "tanh"]),
    norm=st.sampled_from(["none", "batch"]),
    optimizer=st.sampled_from(["sgd", "rmsprop", "adam", "adamw", "nadam"]),
    extras=st.sampled_from(
        [{}, {"nesterov": True, "momentum": 0.9}, {"l1": 1e-3, "weight_decay": 1e-2}, {"dropout": 0.3}]
    ),
    loss=st.sampled_from(["cross_entropy", "mse"]),
    batch_size=st.integers(5, 11),
    trials=st.integers(1, 4),
    long=st.sampled_from([1, side_by_side.LONG]),
    scale=st.floats(-3, 3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=at_depth(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_step_writes_the_same_bits_from_any_state(
    widths: list[int], activation: str, norm: str, optimizer: str, extras: dict[str, object], loss: str,
    batch_size: int, trials: int, long: int, scale: float, seed: int, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(side_by_side, "LONG", long)
    monkeypatch.setattr("tuner.train.programs.stacked.program.KERNELS_AFTER_RUNS", 0)
    network = dense(widths, activation=activation, norm=norm, dropout="dropout" in extras)
    program = trained(network, loss=loss, trials=trials, batch_size=batch_size, optimizer=optimizer, **extras)
    check_bits_from_any_state(whole_step(program), scale=scale, seed=seed)


@pytest.mark.slow
@needs_kernels
@given(
    channels=st.integers(3, 6),
    input_shape=st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(2, 9)),
    kernel_size=st.sampled_from([3, 5]),
    norm=st.sampled_from(["none", "batch"]),
    optimizer=st.sampled_from(["sgd", "adam"]),
    extras=st.sampled_from([{}, {"dropout": 0.3}]),
    activation_and_batch_size=st.sampled_from([("relu", 17), ("leaky_relu", 39), ("relu", 32), ("tanh", 16)]),
    trials=st.integers(1, 4),
    scale=st.floats(-3, 3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=at_depth(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_step_of_images_writes_the_same_bits_from_any_state(
    channels: int, input_shape: tuple[int, int, int], kernel_size: int, norm: str, optimizer: str,
    extras: dict[str, object], activation_and_batch_size: tuple[str, int], trials: int, scale: float, seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("tuner.train.programs.stacked.program.KERNELS_AFTER_RUNS", 0)
    activation, batch_size = activation_and_batch_size
    values = {"channels": channels, "conv_layers": 2, "kernel_size": kernel_size, "hidden_units": 9}
    network = cnn(values | {"activation": activation, "norm": norm}, input_shape=input_shape, num_outputs=4)
    program = trained(
        network, loss="cross_entropy", trials=trials, batch_size=batch_size, optimizer=optimizer, **extras
    )
    check_bits_from_any_state(whole_step(program), scale=scale, seed=seed)


def check_bits_from_any_state(step: ReplayedStep, *, scale: float, seed: int) -> None:
    assert step.runs_kernels
    draw = torch.Generator().manual_seed(seed)
    for tensor in step._state:
        tensor.copy_(torch.randn(tensor.shape, generator=draw).abs_() * 10**scale)
    before = [t.clone() for t in step._state]
    step._step()
    expected = [t.clone() for t in step._state]
    for tensor, value in zip(step._state, before, strict=True):
        tensor.copy_(value)
    step._replay.run_once()  # type: ignore[union-attr]
    for ours, theirs in zip(step._state, expected, strict=True):
        assert torch.equal(ours.nan_to_num(), theirs.nan_to_num())
        assert torch.equal(ours.isnan(), theirs.isnan())


class TestSideBySide:
    """Elementwise operations in a row, unless one would read what another one has yet to write, or has written."""

    SIZE = 2 * side_by_side.LONG

    def together(self, *calls: tuple[torch.Tensor, torch.Tensor], trials: int = 1) -> list[int]:
        found = translation.Translation(trials)
        for out, factor in calls:
            found.elementwise("mul", out, [out, factor])
        operations = np.array(found.operations, dtype=translation.OPERATION)
        side_by_side.side_by_side(operations, num_trials=trials)
        return [int(n) for n in operations["together"]]

    def test_the_same_elements_and_other_tensors(self) -> None:
        a, b, c = torch.zeros(3, 1, self.SIZE)
        assert self.together((a, b), (c, a)) == [2, 1]

    @pytest.mark.parametrize("shift", [1, -1, 5000])
    def test_not_where_one_reads_what_another_writes_elsewhere(self, shift: int) -> None:
        memory = torch.zeros(1, 3 * self.SIZE)
        a, shifted = (memory[:, start : start + self.SIZE] for start in (6000, 6000 + shift))
        other = torch.zeros(1, self.SIZE)
        assert self.together((a, other), (other, shifted)) == [1, 1]
        assert self.together((other, shifted), (a, other)) == [1, 1]

    def test_not_where_one_number_for_all_is_written_by_another(self) -> None:
        a, other = torch.zeros(1, self.SIZE), torch.zeros(1, self.SIZE)
        assert self.together((a, other), (other, a[:, 3:4])) == [1, 1]
        assert self.together((a, other), (other, torch.zeros(1, 1))) == [2, 1]

    def test_not_where_trials_meet(self) -> None:
        memory = torch.zeros(2, 2, self.SIZE)
        every, other = memory[:, 0], memory[0].flip(0).contiguous()
        assert self.together((every, other), (memory[0], memory[:, 0]), trials=2) == [1, 1]

    def test_not_where_they_are_short(self) -> None:
        a, b = torch.zeros(1, 64), torch.zeros(1, 64)
        assert self.together((a, b), (b, a)) == [1, 1]


@needs_kernels
@pytest.mark.parametrize("batch_size", [16, 23])
@pytest.mark.parametrize(
    ("activation", "norm"), [("relu", "none"), ("tanh", "none"), ("relu", "batch"), ("tanh", "batch")]
)
def test_usual_networks_are_run_by_the_kernels_in_training_and_evaluation(
    activation: str, norm: str, batch_size: int
) -> None:
    network = dense([20, 33, 10], activation=activation, norm=norm)
    program = trained(network, loss="cross_entropy", trials=3, batch_size=batch_size)
    for _ in range(4):
        plan = plan_of(program.members, num_train=NUM_TRAIN, epoch=1)
        program.train_steps(plan, 0, len(plan.step_SK))
        program.outputs(program.problem.train.inputs)
    assert all(step._replayed.runs_kernels for step in program._steps.values())
    assert all(forward.replayed.runs_kernels for forward in program._evaluator._forwards.values())


@needs_kernels
def test_what_the_kernels_do_not_know_is_left_to_pytorch() -> None:
    program = trained(dense([8, 16, 4], activation="gelu"), loss="cross_entropy", trials=2, batch_size=8)
    assert not whole_step(program).runs_kernels


@needs_kernels
def test_kernels_that_round_otherwise_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is compared with PyTorch's before it is handed over, and goes on as if nothing had been."""
    expected = trained(dense([8, 16, 4]), loss="cross_entropy", trials=2, batch_size=8)
    monkeypatch.setitem(translation._CODES, "sub", translation._CODES["add"])
    found = trained(dense([8, 16, 4]), loss="cross_entropy", trials=2, batch_size=8)
    assert whole_step(expected).runs_kernels
    assert not whole_step(found).runs_kernels
    assert torch.equal(found.p_KP, expected.p_KP)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"TUNER_NATIVE": "off"}, "TUNER_NATIVE is off"),
        pytest.param({"CC": "/bin/false"}, "could not compile", marks=pytest.mark.deep),
        pytest.param({"PATH": "/nowhere"}, "no C compiler", marks=pytest.mark.deep),
        pytest.param({"XDG_CACHE_HOME": "/proc/none"}, "cannot be written", marks=pytest.mark.deep),
    ],
)
def test_without_kernels_the_reason_is_known_and_nothing_fails(
    environment: dict[str, str], reason: str, tmp_path: Path
) -> None:
    code = (
        "from tuner.train.replay.native.library import library, unavailable_reason\n"
        "print(unavailable_reason(), library())"
    )
    given = os.environ | {"XDG_CACHE_HOME": str(tmp_path)} | environment
    out = subprocess.run(
        [sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True, cwd=Path.cwd()
    ).stdout
    assert reason in out
    assert out.strip().endswith("None")
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.slow
@needs_kernels
def test_a_damaged_file_in_the_cache_is_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernels = native.Kernels()
    assert kernels._build is not None
    assert kernels._build.finished(wait=True)
    kernels.path.write_bytes(b"cut")
    with pytest.raises(native.UnavailableError, match="cannot be loaded"):
        kernels.ready()
