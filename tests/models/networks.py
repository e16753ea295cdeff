"""Networks for the tests of models and of training."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import strategies as st
from torch import Tensor, nn

from tuner.models.cnn import cnn, resnet
from tuner.models.layers.activations import ACTIVATIONS
from tuner.models.layers.layer import Parameter
from tuner.models.mlp import mlp
from tuner.models.module import load_values, to_module
from tuner.models.network import Network
from tuner.models.tabular import tabular


def module_with(network: Network, values: Mapping[Parameter, Tensor], *, dropout: float = 0.0) -> nn.Sequential:
    module = to_module(network, dropout=dropout)
    load_values(module, network, values)
    return module


@st.composite
def mlps(draw: st.DrawFn) -> Network:
    settings = {
        "hidden_units": draw(st.integers(1, 40)),
        "hidden_layers": draw(st.integers(0, 3)),
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "norm": draw(st.sampled_from(["none", "batch", "layer"])),
        "residual": draw(st.booleans()),
    }
    return mlp(settings, input_shape=(draw(st.integers(1, 40)),), num_outputs=draw(st.integers(1, 20)))


@st.composite
def tabulars(draw: st.DrawFn) -> Network:
    settings = {
        "number_embedding": draw(st.sampled_from(["periodic", "none"])),
        "hidden_units": draw(st.integers(1, 40)),
        "hidden_layers": draw(st.integers(0, 2)),
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "norm": draw(st.sampled_from(["none", "batch", "layer"])),
        "residual": draw(st.booleans()),
    }
    numbers, others = draw(st.integers(0, 20)), draw(st.integers(1, 20))
    shape = (numbers + others if draw(st.booleans()) else max(1, numbers),)
    return tabular(settings, input_shape=shape, num_outputs=draw(st.integers(1, 20)), num_numbers=min(numbers, *shape))


@st.composite
def cnns(draw: st.DrawFn) -> Network:
    settings = {
        "channels": draw(st.integers(1, 5)),
        "conv_layers": draw(st.integers(1, 3)),
        "kernel_size": draw(st.sampled_from([1, 3, 5])),
        "hidden_units": draw(st.integers(1, 20)),
        "activation": draw(st.sampled_from(sorted(ACTIVATIONS))),
        "norm": draw(st.sampled_from(["none", "batch", "layer"])),
    }
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    return draw(st.sampled_from([cnn, resnet]))(settings, input_shape=shape, num_outputs=draw(st.integers(1, 20)))
