"""Descriptions of networks: their parameters, initial values and rounded shapes."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from tests.depth import at_depth
from tests.models.networks import cnns, mlps, module_with, tabulars
from tuner.errors import DataError
from tuner.models.cnn import cnn, resnet
from tuner.models.layers.activations import Activation, is_relu_like
from tuner.models.layers.dense import Dense
from tuner.models.layers.dropout import Dropout
from tuner.models.layers.images import Convolution, GlobalAverage, MaxPool
from tuner.models.layers.layer import Parameter
from tuner.models.layers.norms import BatchNorm, LayerNorm, Norm
from tuner.models.layers.numbers import Cosines
from tuner.models.layers.widths import WIDTH_GRID, rounded_width
from tuner.models.mlp import mlp
from tuner.models.module import initial_values, to_module
from tuner.models.network import Network
from tuner.models.tabular import tabular

NETWORKS = st.one_of(mlps(), cnns(), tabulars())


@given(st.integers(1, 10_000))
def test_a_rounded_width_is_the_next_multiple_of_the_grid(width: int) -> None:
    rounded = rounded_width(width)
    assert rounded % WIDTH_GRID == 0
    assert 0 <= rounded - width < WIDTH_GRID


@given(NETWORKS, st.integers(0, 2**31))
@settings(max_examples=at_depth(40), deadline=None)
def test_a_network_and_its_module_have_the_same_parameters(network: Network, seed: int) -> None:
    values = initial_values(network, seed=seed)
    module = module_with(network, values)
    named = dict(module.named_parameters())
    assert [f"{p.layer}.{p.name}" for p in network.parameters()] == list(named)
    assert network.num_parameters == sum(p.numel() for p in named.values())
    for parameter, value in values.items():
        found = named[f"{parameter.layer}.{parameter.name}"]
        is_dense = isinstance(network.layers[parameter.layer], Dense) and parameter.name == "weight"
        assert torch.equal(found.T if is_dense else found, value)
        assert value.shape == parameter.shape


@given(NETWORKS, st.integers(0, 2**31))
@settings(max_examples=at_depth(40), deadline=None)
def test_only_weights_are_decayed(network: Network, seed: int) -> None:
    for parameter in network.parameters():
        is_norm = isinstance(network.layers[parameter.layer], Norm)
        assert parameter.decayed == (parameter.name == "weight" and not is_norm)


@given(NETWORKS)
def test_the_last_layer_is_dense_and_no_dropout_follows_the_hidden_ones(network: Network) -> None:
    assert isinstance(network.layers[-1], Dense)
    for before, layer in pairwise(network.layers):
        if isinstance(layer, Dropout):
            assert isinstance(before, Activation | GlobalAverage)


@given(mlps(), st.integers(0, 2**31), st.integers(1, 8))
@settings(max_examples=at_depth(60), deadline=None)
def test_a_rounded_mlp_computes_the_same_function(network: Network, seed: int, batch: int) -> None:
    """Zeros in the place of all that rounding adds leave the outputs as they are, batch norm included.

    The sigmoid is one half at zero, which is why the stacked program masks its added units: here their outgoing
    weights are zero. A layer norm would average over them, and the stacked program masks them there too.
    """
    assume(not any(isinstance(layer, LayerNorm) for layer in network.layers))
    draw = torch.Generator().manual_seed(seed)
    check_rounding(network, seed, torch.randn(batch, *network.input_shape, generator=draw))


@given(cnns(), st.integers(0, 2**31))
@settings(max_examples=at_depth(25), deadline=None)
def test_a_rounded_cnn_computes_the_same_function(network: Network, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    check_rounding(network, seed, torch.randn(3, *network.input_shape, generator=draw))


@torch.no_grad()
def check_rounding(network: Network, seed: int, inputs: torch.Tensor) -> None:
    values = {p: v + 0.01 for p, v in initial_values(network, seed=seed).items()}
    rounded = network.rounded()
    assert rounded.rounded() == rounded
    widened = {}
    for (parameter, value), place in zip(values.items(), rounded.parameters(), strict=True):
        grown = torch.zeros(place.shape)
        grown[tuple(slice(0, n) for n in parameter.shape)] = value
        widened[place] = grown
    own = module_with(network, values).eval()
    ours = module_with(rounded, widened).eval()
    first = next(layer for layer in rounded.layers if isinstance(layer, Dense | Convolution))
    if isinstance(first, Dense):  # inputs are widened by the program's table of examples
        inputs = inputs.flatten(1)
        wide = nn.functional.pad(inputs, (0, first.inputs - inputs.shape[1]))
        expected, found = own(inputs), ours(wide)
    else:
        expected = own(inputs)
        found = forward_widening(ours, inputs)
    num_outputs = expected.shape[1]
    scale = float(expected.abs().max().clamp_min(1.0))
    assert (found[:, :num_outputs] - expected).abs().max() <= 1e-6 * scale
    assert not found[:, num_outputs:].any()


def forward_widening(module: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    for layer in module:
        if isinstance(layer, nn.Linear):
            layer.register_forward_pre_hook(
                lambda layer, x: (nn.functional.pad(x[0], (0, layer.in_features - x[0].shape[1])),)
            )
    outputs: torch.Tensor = module(x)
    return outputs


def test_embedded_numbers_are_cosines_beside_the_features() -> None:
    network = Network((Cosines(3, 2, 4), Dense(11, 1)), (3,))
    values = initial_values(network, seed=0, init="zero")
    (frequencies, phases), x = list(values.values())[:2], torch.randn(5, 3)
    found = module_with(network, values)[0](x)
    assert torch.equal(found[:, 8:], x)
    expected = torch.cos(x[:, :2, None] * frequencies + phases.view(2, 4)).flatten(1)
    assert torch.allclose(found[:, :8], expected)
    assert float(frequencies.std()) > 0.3  # `init` is for weights that features are mixed by


def test_a_model_of_tables_refuses_examples_that_are_no_rows() -> None:
    with pytest.raises(DataError, match=r"model tabular is for tables, and an example has shape \(1, 8, 8\)"):
        tabular({}, input_shape=(1, 8, 8), num_outputs=2, num_numbers=0)


@pytest.mark.parametrize(
    ("activation", "init", "expected"),
    [
        ("relu", "auto", math.sqrt(2 / 200)),
        ("gelu", "auto", math.sqrt(2 / 200)),
        ("tanh", "auto", math.sqrt(2 / 500)),
        ("sigmoid", "auto", math.sqrt(2 / 500)),
        ("relu", "xavier", math.sqrt(2 / 500)),
        ("tanh", "he", math.sqrt(2 / 200)),
        ("tanh", "lecun", math.sqrt(1 / 200)),
    ],
)
def test_initial_weights_have_the_spread_of_their_name(activation: str, init: str, expected: float) -> None:
    network = mlp(
        {"hidden_units": 300, "hidden_layers": 1, "activation": activation, "norm": "none", "residual": False},
        input_shape=(200,), num_outputs=10,
    )  # fmt: skip
    first, bias, last, _ = initial_values(network, seed=3, init=init).values()
    assert float(first.std()) == pytest.approx(expected, rel=4 / math.sqrt(2 * first.numel()))
    assert float(first.mean()) == pytest.approx(0.0, abs=4 * expected / math.sqrt(first.numel()))
    assert not bias.any()
    output = {"he": math.sqrt(2 / 300), "lecun": math.sqrt(1 / 300)}.get(init, math.sqrt(2 / 310))
    assert float(last.std()) == pytest.approx(output, rel=4 / math.sqrt(2 * last.numel()))


def test_a_convolution_counts_its_window_in_its_fan() -> None:
    weight = Network((Convolution(8, 16, 3), Activation("relu")), (8, 6, 6)).parameters()[0]
    assert weight == Parameter(0, "weight", (16, 8, 3, 3), 72, 144)
    drawn = next(iter(initial_values(Network((Convolution(8, 16, 3), Activation("relu")), (8, 6, 6)), seed=0).values()))
    assert float(drawn.std()) == pytest.approx(math.sqrt(2 / 72), rel=0.1)


def test_initial_values_depend_on_the_seed_alone() -> None:
    network = mlp(
        {"hidden_units": 8, "hidden_layers": 2, "activation": "relu", "norm": "batch", "residual": False},
        input_shape=(5,), num_outputs=3,
    )  # fmt: skip
    first, again, other = (initial_values(network, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[p], again[p]) for p in first)
    assert not all(torch.equal(first[p], other[p]) for p in first if p.decayed)
    norm = [v for p, v in first.items() if isinstance(network.layers[p.layer], BatchNorm) and p.name == "weight"]
    assert len(norm) == 2
    assert all((v == 1).all() for v in norm)


def test_an_mlp_without_hidden_layers_is_one_linear_map() -> None:
    network = mlp(
        {"hidden_units": 8, "hidden_layers": 0, "activation": "relu", "norm": "batch", "residual": False},
        input_shape=(4,), num_outputs=3,
    )  # fmt: skip
    assert network.layers == (Dense(4, 3),)


def test_a_cnn_doubles_its_channels_and_stops_pooling_where_the_image_is_one_pixel() -> None:
    settings = {
        "channels": 4, "conv_layers": 4, "kernel_size": 3, "hidden_units": 10, "activation": "relu",
        "norm": "none",
    }  # fmt: skip
    network = cnn(settings, input_shape=(1, 5, 4), num_outputs=2)
    channels = [layer.channels_out for layer in network.layers if isinstance(layer, Convolution)]
    assert channels == [4, 8, 16, 32]
    assert sum(isinstance(layer, MaxPool) for layer in network.layers) == 2
    assert to_module(network)(torch.zeros(2, 1, 5, 4)).shape == (2, 2)


@pytest.mark.parametrize("model", [cnn, resnet])
def test_models_of_images_refuse_examples_that_are_none(model: Callable[..., Network]) -> None:
    with pytest.raises(DataError, match=rf"model {model.__name__} needs images .*got examples of shape \(64,\)"):
        model({}, input_shape=(64,), num_outputs=10)


@pytest.mark.parametrize("input_shape", [(1, 28, 28), (1, 8, 8), (3, 32, 32), (2, 13, 7), (1, 1, 5)])
@pytest.mark.parametrize("model", [cnn, resnet])
def test_images_may_have_any_size(model: Callable[..., Network], input_shape: tuple[int, ...]) -> None:
    settings = {
        "channels": 4, "conv_layers": 3, "kernel_size": 3, "hidden_units": 10, "activation": "relu", "norm": "batch",
    }  # fmt: skip
    network = model(settings, input_shape=input_shape, num_outputs=5)
    assert module_with(network, initial_values(network, seed=0)).eval()(torch.zeros(2, *input_shape)).shape == (2, 5)


def test_a_residual_mlp_whose_branches_are_silent_hands_its_first_hidden_layer_through() -> None:
    network = mlp(
        {"hidden_units": 8, "hidden_layers": 3, "activation": "tanh", "norm": "layer", "residual": True},
        input_shape=(5,), num_outputs=3,
    )  # fmt: skip
    values = initial_values(network, seed=0)
    dense = [p for p in values if isinstance(network.layers[p.layer], Dense) and p.name == "weight"]
    module = module_with(network, {p: torch.zeros_like(v) if p in dense[1:3] else v for p, v in values.items()})
    shallow = mlp(
        {"hidden_units": 8, "hidden_layers": 1, "activation": "tanh", "norm": "layer", "residual": True},
        input_shape=(5,), num_outputs=3,
    )  # fmt: skip
    kept = (values[p] for p in values if p.layer < 2 or p.layer == len(network.layers) - 1)
    inputs = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    expected = module_with(shallow, dict(zip(shallow.parameters(), kept, strict=True)))(inputs)
    assert torch.equal(module(inputs), expected)


@given(NETWORKS, st.integers(0, 1000))
@settings(max_examples=at_depth(25), deadline=None)
def test_orthogonal_weights_keep_the_length_of_what_goes_through_up_to_their_gain(network: Network, seed: int) -> None:
    for parameter, value in initial_values(network, seed=seed, init="orthogonal").items():
        if not parameter.decayed or parameter.spread:
            continue
        matrix = value.T if isinstance(network.layers[parameter.layer], Dense) else value.flatten(1)
        gain = 2**0.5 if is_relu_like(network.activation_after(parameter.layer)) else 1.0
        short = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        assert torch.allclose(short @ short.T, gain**2 * torch.eye(len(short)), atol=1e-4)


def test_zero_and_normal_initial_weights_are_what_they_say() -> None:
    network = mlp(
        {"hidden_units": 200, "hidden_layers": 1, "activation": "relu", "norm": "none"},
        input_shape=(200,),
        num_outputs=2,
    )
    assert not any(value.any() for value in initial_values(network, seed=0, init="zero").values())
    weight = next(iter(initial_values(network, seed=0, init="normal").values()))
    assert float(weight.std()) == pytest.approx(1.0, abs=0.02)
