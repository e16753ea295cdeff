"""Reading range tests whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.diagnose.lr_range import smoothed, suggest

RATES = np.geomspace(1e-6, 10, 120).tolist()


def valley(*, fastest: float, explodes: float, floor: float = 0.2) -> list[float]:
    """Losses that fall from 2, fastest at a rate, and rise without bound from another on."""
    falling = [floor + (2.0 - floor) / (1 + (r / fastest) ** 1.5) for r in RATES]
    return [loss + max(0.0, math.log(r / explodes)) * 3 for loss, r in zip(falling, RATES, strict=True)]


@pytest.mark.parametrize("ending", [math.nan, math.inf, 50.0])
def test_the_suggestion_lies_where_the_loss_falls_well_below_where_it_explodes(ending: float) -> None:
    losses = [
        loss if rate < 2 else ending for loss, rate in zip(valley(fastest=3e-3, explodes=0.1), RATES, strict=True)
    ]
    found = suggest(RATES, losses)
    assert found is not None
    assert 1e-3 < found.learning_rate < 0.05
    assert found.low < found.learning_rate < found.high < 0.2
    assert "falls fastest at 0.00" in found.reason
    assert "explodes from 0." in found.reason


def test_a_test_that_ends_while_the_loss_still_falls_says_so() -> None:
    found = suggest(RATES, valley(fastest=1.0, explodes=1e9))
    assert found is not None
    assert found.reason.endswith("does not explode in this range")


@pytest.mark.parametrize("losses", [[2.3] * 120, [2.3 + 0.01 * i for i in range(120)], [math.nan] * 120, [2.0, 1.0]])
def test_a_loss_that_never_falls_suggests_nothing(losses: list[float]) -> None:
    assert suggest(RATES, losses) is None


@given(st.floats(1e-4, 0.1), st.floats(3, 100), st.floats(0.01, 1.0))
def test_the_range_holds_the_suggestion(fastest: float, factor: float, floor: float) -> None:
    found = suggest(RATES, valley(fastest=fastest, explodes=fastest * factor, floor=floor))
    assert found is not None
    assert found.low < found.learning_rate < found.high


def test_smoothing_leaves_a_straight_line_and_averages_the_neighbours_that_there_are() -> None:
    line = [10.0 - i for i in range(12)]
    assert smoothed(line)[2:-2] == pytest.approx(line[2:-2])
    assert smoothed(line)[:2] == pytest.approx([9.0, 8.5])
    assert smoothed([*line[:6], math.nan, 0.0]) == pytest.approx([9.0, 8.5, 8.0, 7.0, 6.5, 6.0])
