"""What may differ between modules that are trained as one: their tensors, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import nn

from tuner.models.layers.dropout import KeyedDropout
from tuner.train.programs.modules.stackable import difference, skeleton


class Holder(nn.Module):
    """Keeps a value beside its layer."""

    def __init__(self, value: object = None) -> None:
        super().__init__()
        self.value = value
        self.layer = nn.Linear(2, 2)


class Options:
    def __init__(self, rate: float) -> None:
        self.rate = rate


def scaling_by(factor: float) -> Callable[[float], float]:
    return lambda x: factor * x


ALIKE = {
    "numbers": (0.5, 0.5),
    "lists": ([1, "a", (2.0, None)], [1, "a", (2.0, None)]),
    "dictionaries": ({"a": 1}, {"a": 1}),
    "plain tensors": (torch.ones(3), torch.ones(3)),
    "functions": (torch.relu, torch.relu),
    "closures over the same": (scaling_by(2.0), scaling_by(2.0)),
    "objects": (Options(0.1), Options(0.1)),
    "unregistered modules": ([nn.Linear(2, 2)], [nn.Linear(2, 2)]),
}
DIFFERENT = {
    "numbers": (0.5, 0.6),
    "kinds of number": (1, 1.0),
    "lengths": ([1], [1, 1]),
    "dictionaries": ({"a": 1}, {"a": 2}),
    "plain tensors": (torch.ones(3), torch.zeros(3)),
    "functions": (torch.relu, torch.tanh),
    "closures": (scaling_by(2.0), scaling_by(3.0)),
    "objects": (Options(0.1), Options(0.2)),
    "unregistered modules": ([nn.Dropout(0.1)], [nn.Dropout(0.2)]),
    "things that cannot be compared": (iter([1]), iter([1])),
}


@pytest.mark.parametrize("kind", ALIKE)
def test_equal_attributes_are_no_difference(kind: str) -> None:
    first, second = ALIKE[kind]
    assert difference([Holder(first), Holder(second), Holder(first)]) is None


@pytest.mark.parametrize("kind", DIFFERENT)
def test_other_attributes_are_a_difference(kind: str) -> None:
    first, second = DIFFERENT[kind]
    found = difference([Holder(first), Holder(first), Holder(second)])
    assert found == "modules keep different values in value, which is no parameter or buffer"


def test_the_place_is_named() -> None:
    found = difference([nn.Sequential(nn.ReLU(), Holder(value)) for value in (1, 2)])
    assert found == "modules keep different values in 1.value, which is no parameter or buffer"


def test_parameters_and_buffers_may_differ() -> None:
    assert (
        difference([nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), KeyedDropout(rate)) for rate in (0.1, 0.5)])
        is None
    )
    assert difference([nn.Linear(3, 2)]) is None


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (nn.Sequential(nn.ReLU()), nn.Sequential(nn.Tanh())),
        (nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU(), nn.ReLU())),
        (nn.Sequential(), nn.ReLU()),
    ],
)
def test_other_structures_are_a_difference(first: nn.Module, second: nn.Module) -> None:
    assert "differ in structure" in (difference([first, second]) or "")
    assert "differ in structure" in (difference([second, first]) or "")


def test_other_shapes_and_other_frozen_parameters_are_a_difference() -> None:
    class Wide(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(width))

    assert "differ in their parameters" in (difference([Wide(2), Wide(3)]) or "")
    assert "differ in their parameters" in (difference([Wide(2), Wide(2).requires_grad_(False)]) or "")


def layers(*sizes: int, slope: float = 0.1, between: type[nn.Module] = nn.LayerNorm) -> nn.Module:
    module = nn.Sequential(nn.LeakyReLU(slope))
    for inputs, outputs in pairwise(sizes):
        module.extend([nn.Linear(inputs, outputs), between(outputs)])
    return module


def test_sizes_are_no_part_of_a_skeleton() -> None:
    assert skeleton(layers(64, 16, 10)) == skeleton(layers(64, 48, 10)) == skeleton(layers(3, 5, 7))


@pytest.mark.parametrize(
    "other",
    [
        layers(64, 16, 16, 10),
        layers(64, 16, 10, slope=0.2),
        layers(64, 16, 10, between=nn.BatchNorm1d),
        layers(64, 16, 10).requires_grad_(False),
        layers(64, 16, 10).double(),
    ],
)
def test_all_else_is(other: nn.Module) -> None:
    assert skeleton(other) != skeleton(layers(64, 16, 10))


@pytest.mark.parametrize("value", [4, True, 2.0, "2", None])
def test_a_number_is_a_size_only_where_it_is_a_length_of_a_parameter(value: object) -> None:
    assert skeleton(Holder(value)) != skeleton(Holder(3))
    assert skeleton(Holder(2)) != skeleton(Holder(value))
