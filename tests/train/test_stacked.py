"""The stacked program against autograd on plain modules: its backward pass is written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.depth import at_depth
from tests.models.networks import cnns, mlps, tabulars
from tests.train.trials import member_of, plan_of, relative_difference, set_dropout_keys, settings_of
from tuner.data.dataset import Split
from tuner.models.cnn import cnn
from tuner.models.layers.dense import Dense
from tuner.models.layers.layer import Layer, transposed_for_module
from tuner.models.layers.norms import LayerNorm, Norm
from tuner.models.layers.residual import Fork
from tuner.models.mlp import mlp
from tuner.models.network import Network
from tuner.train.measure.losses import mean_loss
from tuner.train.program import Member, Problem
from tuner.train.programs.stacked.program import StackedProgram

CPU = torch.device("cpu")
NUM_TRAIN = 23


def split_for(network: Network, *, loss: str, seed: int = 0, size: int = NUM_TRAIN) -> Split:
    draw = torch.Generator().manual_seed(seed)
    outputs = num_outputs(network)
    inputs = torch.randn(size, *network.input_shape, generator=draw)
    if loss == "mse":
        return Split(inputs, torch.randn(size, outputs, generator=draw))
    if loss == "binary_cross_entropy":
        return Split(inputs, torch.randint(2, (size, outputs), generator=draw).float())
    return Split(inputs, torch.randint(outputs, (size,), generator=draw))


def num_outputs(network: Network) -> int:
    last = network.layers[-1]
    assert isinstance(last, Dense)
    return last.outputs


def stacked(members: list[Member], train: Split, loss: str) -> StackedProgram:
    assert members[0].network is not None
    outputs = num_outputs(members[0].network)
    return StackedProgram(members, Problem(train=train, loss=loss, num_outputs=outputs, device=CPU))


def gradients(program: StackedProgram, row: int, network: Network) -> dict[str, Tensor]:
    """A trial's last gradient, by the names of its plain module."""
    found = program.layout.unpack(program.g_KP[row], network.parameters(), places=program.places(row))
    return {
        f"{p.layer}.{p.name}": transposed_for_module(network.layers[p.layer], g) if p.name == "weight" else g
        for p, g in found.items()
    }


def narrower(network: Network, by: int) -> Network:
    """A neighbour whose dense hidden layers are a little narrower, and may round to the same shape."""
    dense = [index for index, layer in enumerate(network.layers) if isinstance(layer, Dense)]
    layers: list[Layer] = []
    for index, layer in enumerate(network.layers):
        match layer:
            case Dense(inputs, outputs):
                layers.append(
                    Dense(
                        inputs if index == dense[0] else max(1, inputs - by),
                        outputs if index == dense[-1] else max(1, outputs - by),
                    )
                )
            case Norm(features, False):
                layers.append(type(layer)(max(1, features - by)))
            case _:
                layers.append(layer)
    return Network(tuple(layers), network.input_shape)


def norms_single_values(network: Network) -> bool:
    """Such a norm is nothing but rounding, whose sign a kink turns into a gradient; the library refuses some.

    So it is with two values that are nearly equal.
    """
    return any(isinstance(layer, LayerNorm) and layer.features <= 2 for layer in network.layers)


@pytest.mark.slow
@given(
    network=st.one_of(mlps(), cnns()),
    loss=st.sampled_from(["cross_entropy", "binary_cross_entropy", "mse"]),
    dropout=st.sampled_from([0.0, 0.4]),
    num_trials=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=at_depth(80), deadline=None)
def test_gradients_are_those_of_autograd(
    network: Network, loss: str, dropout: float, num_trials: int, seed: int
) -> None:
    assume(not norms_single_values(network))
    networks = [narrower(network, k) for k in range(num_trials)]
    assume(len({n.rounded() for n in networks}) == 1)
    check_gradients(networks, loss=loss, dropout=dropout, seed=seed)


@pytest.mark.slow
@given(network=tabulars(), num_trials=st.integers(1, 3), seed=st.integers(0, 1000))
@settings(max_examples=at_depth(25), deadline=None)
def test_gradients_of_embedded_numbers_are_those_of_autograd(network: Network, num_trials: int, seed: int) -> None:
    networks = [narrower(network, k) for k in range(num_trials)]
    assume(len({n.rounded() for n in networks}) == 1)
    check_gradients(networks, loss="mse", seed=seed)


def least_spread(module: nn.Module, inputs: Tensor) -> float:
    """The smallest standard deviation that a batch norm of the module divides by, on these inputs."""
    found = [1.0]

    def look(_: nn.Module, given: tuple[Tensor, ...]) -> None:
        found.append(float(given[0].transpose(0, 1).flatten(1).std(dim=1, correction=0).min()))

    norms = [layer for layer in module.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    handles = [layer.register_forward_pre_hook(look) for layer in norms]
    with torch.no_grad():
        module(inputs)
    for handle in handles:
        handle.remove()
    return min(found)


def check_gradients(networks: list[Network], *, loss: str, dropout: float = 0.0, seed: int = 0) -> None:
    network = networks[0]
    trial = settings_of(learning_rate=0.0, batch_size=NUM_TRAIN, num_train=NUM_TRAIN, dropout=dropout)
    members = [member_of(n, trial, seed=seed + k) for k, n in enumerate(networks)]
    train = split_for(network, loss=loss, seed=seed)
    program = stacked(members, train, loss)
    plan = plan_of(members, num_train=NUM_TRAIN)
    program.train_steps(plan, 0, 1)
    # A norm over two or three nearly equal features divides by next to nothing, and deep networks amplify rounding.
    tolerance = 1e-3 if any(isinstance(layer, LayerNorm | Fork) for layer in network.layers) else 2e-5
    for row, (member, own) in enumerate(zip(members, networks, strict=True)):
        module = member.make_module().train()
        order = plan.order_KN[row]
        set_dropout_keys(module, seed=member.seed, step=0)
        if least_spread(module, train.inputs[order]) < 0.03:
            continue  # few values of nearly dead units: what is divided by so little is rounding, in both ways
        set_dropout_keys(module, seed=member.seed, step=0)
        mean_loss(module(train.inputs[order]), train.targets[order], loss=loss).backward()
        largest = max(float(p.grad.abs().max()) for p in module.parameters() if p.grad is not None)
        ours = gradients(program, row, own)
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None
            assert float((ours[name] - parameter.grad).abs().max()) <= tolerance * max(largest, 0.1), name


@pytest.mark.parametrize("spatial", [False, True])
@pytest.mark.parametrize("batch_size", [8, NUM_TRAIN])
def test_running_statistics_are_those_of_the_library(spatial: bool, batch_size: int) -> None:
    """Over a whole epoch, whose last batch is smaller."""
    values = {"hidden_units": 20, "hidden_layers": 2, "activation": "relu", "norm": "batch", "residual": False}
    convolutional = {**values, "channels": 3, "conv_layers": 2, "kernel_size": 3}
    network = (
        cnn(convolutional, input_shape=(2, 6, 6), num_outputs=4)
        if spatial
        else mlp(values, input_shape=(9,), num_outputs=4)
    )
    trial = settings_of(learning_rate=0.01, momentum=0.0, batch_size=batch_size, num_train=NUM_TRAIN)
    members = [member_of(network, trial, seed=k) for k in range(3)]
    train = split_for(network, loss="cross_entropy")
    program = stacked(members, train, "cross_entropy")
    plan = plan_of(members, num_train=NUM_TRAIN)
    program.train_steps(plan, 0, len(plan.step_SK))
    program.save_best(range(3))
    for row, member in enumerate(members):
        module = member.make_module().train()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        for batch in plan.order_KN[row].split(batch_size):
            optimizer.zero_grad()
            mean_loss(module(train.inputs[batch]), train.targets[batch], loss="cross_entropy").backward()
            optimizer.step()
        ours, theirs = program.best_weights(row), module.state_dict()
        assert ours.keys() == theirs.keys()
        assert any("running_var" in name for name in theirs)
        for name, value in theirs.items():
            if "num_batches_tracked" not in name:
                assert relative_difference(ours[name], value) < 1e-5, name


@pytest.mark.slow
@given(network=st.one_of(mlps(), cnns(), tabulars()), size=st.integers(1, 300), seed=st.integers(0, 100))
@settings(max_examples=at_depth(30), deadline=None)
def test_evaluation_is_that_of_the_plain_module_with_dropout_off(network: Network, size: int, seed: int) -> None:
    assume(not norms_single_values(network))
    trial = settings_of(learning_rate=0.01, batch_size=8, num_train=NUM_TRAIN, dropout=0.5)
    members = [member_of(network, trial, seed=seed + k) for k in range(2)]
    train = split_for(network, loss="mse", seed=seed)
    program = stacked(members, train, "mse")
    plan = plan_of(members, num_train=NUM_TRAIN)
    program.train_steps(plan, 0, 2)
    program.save_best([0, 1])
    inputs = split_for(network, loss="mse", seed=seed + 1, size=size).inputs
    outputs = program.outputs(inputs)
    assert outputs.shape == (2, size, num_outputs(network))
    for row, member in enumerate(members):
        module = member.make_module().eval()
        module.load_state_dict(program.best_weights(row))
        with torch.no_grad():
            expected = module(inputs)
        scale = max(1.0, float(expected.abs().max()))
        assert float((outputs[row] - expected).abs().max()) <= 1e-5 * scale


def simple(**params: float | str | bool) -> tuple[list[Member], Split]:
    network = mlp(
        {"hidden_units": 20, "hidden_layers": 1, "activation": "relu", "norm": "batch", "residual": False},
        input_shape=(9,), num_outputs=4,
    )  # fmt: skip
    trial = settings_of(**{"batch_size": 8, "dropout": 0.3, **params}, num_train=NUM_TRAIN)
    return [member_of(network, trial, seed=k) for k in range(4)], split_for(network, loss="cross_entropy")


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_rows_can_leave_join_and_be_loaded_without_a_change(optimizer: str) -> None:
    members, train = simple(optimizer=optimizer)
    program = stacked(members, train, "cross_entropy")
    plan = plan_of(members, num_train=NUM_TRAIN)
    program.train_steps(plan, 0, len(plan.step_SK))
    program.save_best([0, 2])
    before = [program.state(row) for row in range(4)]
    resized = program.resized([3, 0], [members[1]])
    fresh = stacked([members[1]], train, "cross_entropy").state(0)
    for row, expected in enumerate([before[3], before[0], fresh]):
        found = resized.state(row)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], value) for name, value in expected.items())
    resized.load_state(2, before[2])
    assert all(torch.equal(resized.state(2)[name], value) for name, value in before[2].items())
    # And they train on as if nothing had happened.
    second = plan_of(members, num_train=NUM_TRAIN, epoch=1)
    program.train_steps(second, 0, len(second.step_SK))
    three = plan_of([members[3], members[0], members[2]], num_train=NUM_TRAIN, epoch=1)
    resized.members = (members[3], members[0], members[2])
    resized = resized.resized([0, 1, 2], [])
    resized.train_steps(three, 0, len(three.step_SK))
    for row, old in enumerate([3, 0, 2]):
        found, expected = resized.state(row), program.state(old)
        assert all(torch.equal(found[name], value) for name, value in expected.items())


def test_a_state_is_a_copy() -> None:
    members, train = simple()
    program = stacked(members, train, "cross_entropy")
    before = program.state(0)
    kept = {name: value.clone() for name, value in before.items()}
    plan = plan_of(members, num_train=NUM_TRAIN)
    program.train_steps(plan, 0, 1)
    assert all(torch.equal(before[name], value) for name, value in kept.items())
    assert not torch.equal(program.state(0)["parameters"], kept["parameters"])


def test_the_best_weights_are_those_of_the_moment_that_was_saved() -> None:
    members, train = simple()
    program = stacked(members, train, "cross_entropy")
    plan = plan_of(members, num_train=NUM_TRAIN)
    program.train_steps(plan, 0, 2)
    program.save_best([1])
    saved = program.best_weights(1)
    program.train_steps(plan, 2, len(plan.step_SK))
    assert all(torch.equal(program.best_weights(1)[name], value) for name, value in saved.items())
    program.save_best([1])
    assert not torch.equal(program.best_weights(1)["0.weight"], saved["0.weight"])


def test_a_diverged_trial_leaves_its_neighbours_alone() -> None:
    members, train = simple(learning_rate=0.05)
    huge = replace(members[1], settings=replace(members[1].settings, learning_rate=1e30))
    plan = plan_of([members[0], huge, *members[2:]], num_train=NUM_TRAIN)
    program = stacked([members[0], huge, *members[2:]], train, "cross_entropy")
    program.train_steps(plan, 0, len(plan.step_SK))
    assert not program.outputs(train.inputs)[1].isfinite().all()
    calm = stacked(members, train, "cross_entropy")
    calm.train_steps(plan_of(members, num_train=NUM_TRAIN), 0, len(plan.step_SK))
    for row in (0, 2, 3):
        assert torch.equal(program.outputs(train.inputs)[row], calm.outputs(train.inputs)[row])


def test_gradient_norms_are_by_weight_and_by_trial() -> None:
    members, train = simple(learning_rate=0.0, batch_size=NUM_TRAIN, dropout=0.0)
    program = stacked(members, train, "cross_entropy")
    plan = plan_of(members, num_train=NUM_TRAIN)
    program.train_steps(plan, 0, 1)
    norms = program.gradient_norms()
    assert list(norms) == ["0.weight", "4.weight"]
    for row, member in enumerate(members):
        module = member.make_module().train()
        mean_loss(module(train.inputs), train.targets, loss="cross_entropy").backward()
        for name, values in norms.items():
            grad = module.get_parameter(name).grad
            assert isinstance(grad, Tensor)
            assert float(values[row]) == pytest.approx(float(nn.utils.get_total_norm([grad])), rel=1e-4)
