"""Parameters as rows: nothing overlaps, everything is aligned, and what goes in comes out."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.depth import at_depth
from tests.models.networks import cnns, mlps, tabulars
from tuner.models.layers.layer import Parameter
from tuner.models.layers.widths import ALIGNMENT, WIDTH_GRID
from tuner.models.module import initial_values
from tuner.models.network import Network
from tuner.train.rows.rows import NO_CLASS, RowLayout

NETWORKS = st.one_of(mlps(), cnns(), tabulars())


@st.composite
def parameters(draw: st.DrawFn) -> list[Parameter]:
    """Such as a user's module has: any shapes, scalars included, in any order."""
    shapes = draw(st.lists(st.lists(st.integers(1, 7), max_size=4), min_size=1, max_size=6))
    return [Parameter(i, f"p{i}", tuple(s), trained=draw(st.booleans())) for i, s in enumerate(shapes)]


@given(parameters())
def test_places_are_aligned_disjoint_and_sorted_by_decay(given_parameters: list[Parameter]) -> None:
    layout = RowLayout(given_parameters)
    assert layout.length % ALIGNMENT == layout.num_decayed % ALIGNMENT == 0
    row = torch.zeros(1, layout.length)
    for number, parameter in enumerate(given_parameters, start=1):
        view = layout.view(row, parameter)
        assert view.shape == (1, *parameter.shape)
        start = view.storage_offset()
        assert start % WIDTH_GRID == 0
        assert (start < layout.num_decayed) == (start + view.numel() <= layout.num_decayed) == parameter.decayed
        assert not view.any()
        view.fill_(number)
    assert int((row != 0).sum()) == sum(math.prod(p.shape) for p in given_parameters)


@given(NETWORKS, st.integers(0, 1000))
@settings(max_examples=at_depth(40), deadline=None)
def test_what_is_packed_is_unpacked(network: Network, seed: int) -> None:
    layout = RowLayout(network.rounded().parameters())
    values = {p: v + 0.5 for p, v in initial_values(network, seed=seed).items()}
    row = layout.pack(values)
    assert row.shape == (layout.length,)
    found = layout.unpack(row, network.parameters())
    assert list(found) == list(values)
    for parameter, value in values.items():
        assert torch.equal(found[parameter], value)
    assert int((row != 0).sum()) == sum(int((v != 0).sum()) for v in values.values())


@given(mlps())
@settings(max_examples=at_depth(30), deadline=None)
def test_outputs_that_rounding_adds_are_impossible_classes(network: Network) -> None:
    rounded = network.rounded()
    layout = RowLayout(rounded.parameters())
    row = layout.pack(initial_values(network, seed=0), added_outputs=NO_CLASS)
    bias = layout.view(row.unsqueeze(0), rounded.parameters()[-1])[0]
    own = network.parameters()[-1].shape[0]
    assert not bias[:own].any()
    assert (bias[own:] == NO_CLASS).all()
    assert not torch.softmax(bias, 0)[own:].any()


def test_a_view_shares_memory_with_its_rows() -> None:
    first, second = Parameter(0, "weight", (3, 5)), Parameter(0, "bias", (5,))
    layout = RowLayout([first, second])
    rows = torch.zeros(4, layout.length)
    layout.view(rows, first)[2] = 1.0
    assert rows.sum(dim=1).tolist() == [0.0, 0.0, 15.0, 0.0]
    assert rows[:, : layout.num_decayed].sum() == 15
