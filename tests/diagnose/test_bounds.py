from __future__ import annotations

import pytest

from tuner.diagnose.bounds import winners_on_bounds
from tuner.records import ParamValue
from tuner.spec.space import Dimension, Space


def found(dimension: Dimension, values: list[ParamValue]):  # type: ignore[no-untyped-def]
    winners = [{dimension.name: v} for v in values]
    return winners_on_bounds(winners, space=Space((dimension,)))


RATE = Dimension(name="learning_rate", kind="float", tier=1, default=0.01, low=1e-4, high=1.0, scale="log")
BETA = Dimension(name="momentum", kind="float", tier=2, default=0.9, low=0.5, high=0.99, scale="log1m")
DROPOUT = Dimension(name="dropout", kind="float", tier=4, default=0.0, low=0.0, high=0.6)
BATCH = Dimension(name="batch_size", kind="categorical", tier=2, default=64, choices=(32, 64, 128, 256))
LAYERS = Dimension(name="hidden_layers", kind="int", tier=3, default=2, low=1, high=4)


def test_distance_is_told_in_decades_on_a_log_scale() -> None:
    (bound,) = found(RATE, [0.8, 0.9, 0.7, 0.01, 0.02])
    assert (bound.side, bound.suggestion, bound.near) == ("high", 10.0, 3)
    assert "0.097 decades" in bound.text
    assert "3 of the best 5" in bound.text


def test_momentum_goes_a_decade_nearer_to_one() -> None:
    (bound,) = found(BETA, [0.99, 0.989, 0.9885])
    assert bound.suggestion == pytest.approx(0.999)


def test_a_value_that_cannot_be_crossed_is_no_bound() -> None:
    assert found(DROPOUT, [0.0, 0.01, 0.0, 0.02]) == ()
    (bound,) = found(DROPOUT, [0.6, 0.59, 0.58])
    assert 0.6 < float(bound.suggestion) < 1.0


def test_choices_are_extended() -> None:
    (bound,) = found(BATCH, [32, 32, 32, 64])
    assert bound.is_choice
    assert bound.suggestion == 16


def test_integers_sit_on_their_bound() -> None:
    (bound,) = found(LAYERS, [4, 4, 4, 3])
    assert isinstance(bound.suggestion, int)
    assert bound.suggestion > 4
    assert found(LAYERS, [1, 1, 1]) == () or found(LAYERS, [1, 1, 1])[0].suggestion == 0


def test_of_one_or_two_finished_trials_no_bound_is_named() -> None:
    for count in (0, 1, 2):
        assert winners_on_bounds([{"learning_rate": 0.99}] * count, space=Space((RATE,))) == ()


def test_winners_inside_or_apart_give_no_finding() -> None:
    assert found(RATE, [0.01, 0.9, 0.9, 0.9]) == ()
    assert found(RATE, [0.9, 0.01, 0.02, 0.03]) == ()
    assert found(RATE, []) == ()


def test_fixed_and_unordered_dimensions_have_no_bounds() -> None:
    fixed = Dimension(name="x", kind="float", tier=1, default=1.0, low=1.0, high=1.0)
    words = Dimension(name="w", kind="categorical", tier=1, default="a", choices=("a", "b"))
    assert found(fixed, [1.0, 1.0, 1.0]) == ()
    assert found(words, ["a", "a", "a"]) == ()


def test_a_range_of_less_than_two_decades_is_doubled_and_a_wider_one_gets_a_decade() -> None:
    narrow = Dimension(name="rate", kind="float", tier=1, default=0.03, low=0.01, high=0.1, scale="log")
    for values, suggestion in (([0.1] * 3, 0.2), ([0.01] * 3, 0.005)):
        (bound,) = found(narrow, list(values))
        assert bound.suggestion == pytest.approx(suggestion)
    (bound,) = found(RATE, [1e-4] * 3)
    assert bound.suggestion == pytest.approx(1e-5)
