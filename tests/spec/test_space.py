"""Dimensions and the unit interval."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.spec.strategies import categorical_dimensions, dimensions, float_dimensions, int_dimensions
from tuner.spec.space import Dimension, Space

UNITS = st.floats(0, 1)


def number(low: float, high: float, **fields: object) -> Dimension:
    values = {"name": "x", "kind": "float", "tier": 1, "default": low, "low": low, "high": high} | fields
    return Dimension(**values)  # type: ignore[arg-type]


@given(dimensions(), UNITS)
@example(number(1e6 + 1 / 3, 1e6 + 0.34, step=1e-5), 1.0)
def test_every_place_is_a_value_of_the_dimension(dimension: Dimension, unit: float) -> None:
    value = dimension.from_unit(unit)
    assert dimension.contains(value)
    if dimension.kind != "categorical":
        assert type(value) is {"int": int, "float": float}[dimension.kind]


@given(dimensions(), UNITS)
def test_a_value_comes_back_from_its_place(dimension: Dimension, unit: float) -> None:
    value = dimension.from_unit(unit)
    place = dimension.to_unit(value)
    assert 0.0 <= place <= 1.0
    again = dimension.from_unit(place)
    if dimension.num_values is not None:
        assert again == value
    else:
        assert isinstance(value, float)
        assert isinstance(again, float)
        # On a momentum's scale the distance to 1 is what counts; there floats are a quarter of 1e-15 apart.
        assert math.isclose(again, value, rel_tol=1e-9, abs_tol=1e-9 * (dimension.high - dimension.low) + 1e-15)


@given(st.one_of(float_dimensions(), int_dimensions()), UNITS, UNITS)
def test_numbers_keep_their_order(dimension: Dimension, a: float, b: float) -> None:
    low, high = sorted((a, b))
    first, second = dimension.from_unit(low), dimension.from_unit(high)
    assert first <= second  # type: ignore[operator]
    assert dimension.to_unit(first) <= dimension.to_unit(second)


@pytest.mark.slow
@given(st.one_of(int_dimensions(), categorical_dimensions()))
def test_every_one_of_few_values_owns_a_place(dimension: Dimension) -> None:
    assert dimension.num_values is not None
    values = [dimension.value_at(i) for i in range(min(dimension.num_values, 50))]
    assert [dimension.from_unit(dimension.to_unit(v)) for v in values] == values
    assert len(set(values)) == len(values)


@given(float_dimensions())
def test_a_grid_of_floats_is_exact(dimension: Dimension) -> None:
    if dimension.step is None or dimension.num_values == 1:
        return
    assert dimension.num_values is not None
    for index in range(dimension.num_values):
        value = dimension.value_at(index)
        assert isinstance(value, float)
        assert value == pytest.approx(dimension.low + index * dimension.step, rel=1e-9, abs=1e-9 * dimension.step)
        assert dimension.from_unit(dimension.to_unit(value)) == value


@given(dimensions())
def test_values_outside_are_clipped_to_the_ends(dimension: Dimension) -> None:
    if dimension.kind == "categorical" or dimension.fixed:
        return
    assert dimension.from_unit(dimension.to_unit(-1e300)) == dimension.value_at(0) if dimension.num_values else True
    assert dimension.to_unit(-1e300) <= dimension.to_unit(dimension.low) <= dimension.to_unit(1e300)


def test_momentum_is_even_in_the_logarithm_of_the_distance_to_one() -> None:
    momentum = number(0.9, 0.999, scale="log1m")
    assert momentum.from_unit(0.5) == pytest.approx(0.99)
    assert momentum.to_unit(0.99) == pytest.approx(0.5)


def test_a_learning_rate_is_even_in_its_logarithm() -> None:
    assert number(1e-4, 1.0, scale="log").from_unit(0.5) == pytest.approx(1e-2)


def test_integers_share_the_interval_equally() -> None:
    layers = number(1, 4, kind="int", default=1)
    assert [layers.from_unit(u) for u in (0.0, 0.24, 0.26, 0.49, 0.51, 0.74, 0.76, 1.0)] == [1, 1, 2, 2, 3, 3, 4, 4]
    units = number(16, 64, kind="int", default=16, step=16)
    assert [units.from_unit(u) for u in (0.1, 0.3, 0.6, 0.9)] == [16, 32, 48, 64]


def test_a_logarithmic_integer_may_begin_at_one_and_have_a_step() -> None:
    units = number(1, 8, kind="int", default=1, scale="log")
    assert units.from_unit(0.0) == 1
    assert units.from_unit(1.0) == 8
    wide = number(8, 72, kind="int", default=8, scale="log", step=16)
    assert [wide.value_at(i) for i in range(5)] == [8, 24, 40, 56, 72]
    assert wide.from_unit(0.0) == 8


def test_steps_of_floats_are_written_as_a_person_writes_them() -> None:
    dropout = number(0.0, 0.5, step=0.1)
    assert [dropout.value_at(i) for i in range(6)] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert number(0.0, 0.5, step=0.2).value_at(99) == 0.4


def test_the_number_of_values() -> None:
    assert number(0.0, 1.0).num_values is None
    assert number(0.5, 0.5).num_values == 1
    assert number(0.0, 0.3, step=0.1).num_values == 4
    assert number(1, 4, kind="int").num_values == 4
    assert number(0, 9, kind="int", step=4).num_values == 3
    assert number(0.0, 1.0, step=2.0).fixed


def test_what_a_dimension_contains() -> None:
    layers = number(1, 4, kind="int")
    assert [layers.contains(v) for v in (1, 4, 2.0, 0, 5, 2.5, True, "2", math.nan)] == [True] * 3 + [False] * 6
    flag = Dimension(name="f", kind="categorical", tier=1, default=True, choices=(True, "auto"))
    assert [flag.contains(v) for v in (True, "auto", 1, 1.0, False)] == [True, True, False, False, False]


def test_only_numbers_in_ascending_order_are_ordered_choices() -> None:
    def ordered(*choices: object) -> bool:
        return Dimension(name="c", kind="categorical", tier=1, default=1, choices=choices).ordered  # type: ignore[arg-type]

    assert ordered(32, 64, 128)
    assert ordered(0.1, 1)
    assert not ordered(64, 32)
    assert not ordered(False, True)
    assert not ordered("a", "b")
    assert not ordered(32, "full")


OPTIMIZER = Dimension(name="optimizer", kind="categorical", tier=2, default="sgd", choices=("sgd", "adam"))
BETA = number(0.8, 0.99, name="beta1", default=0.9, when={"optimizer": ("adam",)})
DEEPER = number(1, 3, name="warm", kind="int", default=2, when={"beta1": (0.9,), "optimizer": ("adam",)})
SPACE = Space((OPTIMIZER, BETA, DEEPER))


def test_conditions_follow_each_other() -> None:
    assert SPACE.default() == {"optimizer": "sgd"}
    assert SPACE.complete({"optimizer": "adam"}) == {"optimizer": "adam", "beta1": 0.9, "warm": 2}
    assert SPACE.complete({"optimizer": "adam", "beta1": 0.8}) == {"optimizer": "adam", "beta1": 0.8}
    assert SPACE.complete({"optimizer": "sgd", "beta1": 0.9, "warm": 1}) == {"optimizer": "sgd"}
    assert [d.name for d in SPACE.active({"optimizer": "adam"})] == ["optimizer", "beta1"]


def test_a_space_contains_what_it_could_have_proposed() -> None:
    assert SPACE.contains({"optimizer": "sgd"})
    assert SPACE.contains({"optimizer": "adam", "beta1": 0.8})
    assert not SPACE.contains({"optimizer": "adam"})
    assert not SPACE.contains({"optimizer": "sgd", "beta1": 0.8})
    assert not SPACE.contains({"optimizer": "lion"})


@given(st.lists(UNITS, min_size=3, max_size=3))
def test_points_of_the_unit_cube_are_configurations(units: list[float]) -> None:
    params = SPACE.from_units(units)
    assert SPACE.contains(params)
    assert SPACE.from_units(SPACE.to_units(params)).keys() == params.keys()
    assert len(SPACE.to_units(params)) == len(SPACE)


def test_a_space_is_asked_by_name_and_by_tier() -> None:
    assert SPACE["beta1"] is BETA
    assert SPACE.tiers == (1, 2)
    assert SPACE.in_tier(1) == (BETA, DEEPER)
    with pytest.raises(KeyError):
        SPACE["momentum"]
