"""Learning-rate decay against its formulas."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.train.trials import settings_of
from tuner.train.loop.schedule import decay_factor, learning_rates

SCHEDULES = ("constant", "inverse_time", "exponential", "step", "cosine")


@given(st.floats(0.0, 3.0), st.integers(0, 200))
def test_inverse_time_is_that_of_the_course(rate: float, epoch: int) -> None:
    settings = settings_of(schedule="inverse_time", lr_decay=rate)
    assert decay_factor(settings, epoch) == 1 / (1 + rate * epoch)


@given(st.floats(0.0, 1.0), st.integers(0, 200))
def test_exponential(rate: float, epoch: int) -> None:
    settings = settings_of(schedule="exponential", lr_decay=rate)
    assert decay_factor(settings, epoch) == pytest.approx(math.prod([1 - rate] * epoch))


def test_step_falls_at_each_third() -> None:
    settings = settings_of(schedule="step", lr_decay=0.5, epochs=9)
    assert [decay_factor(settings, e) for e in range(9)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_step_falls_at_each_third_of_a_number_that_three_does_not_divide() -> None:
    settings = settings_of(schedule="step", lr_decay=0.9, epochs=10)
    falls = [e for e in range(1, 10) if decay_factor(settings, e) < decay_factor(settings, e - 1)]
    assert falls == [4, 7]


def test_cosine_goes_from_the_whole_rate_towards_its_end() -> None:
    settings = settings_of(schedule="cosine", lr_decay=0.8, epochs=4)
    expected = [1.0, 1 - 0.4 * (1 - math.cos(math.pi / 4)), 0.6, 1 - 0.4 * (1 - math.cos(3 * math.pi / 4)), 0.2]
    assert [decay_factor(settings, e) for e in range(5)] == pytest.approx(expected)


def test_cosine_falls_to_nearly_zero_unless_told_otherwise_and_wastes_no_epoch() -> None:
    assert settings_of(schedule="cosine").lr_decay == 1.0
    assert 0.0 < decay_factor(settings_of(schedule="cosine", epochs=30), 29) < 0.01
    assert decay_factor(settings_of(schedule="cosine", epochs=1), 0) == 1.0


def test_a_constant_rate_stays() -> None:
    assert {decay_factor(settings_of(schedule="constant", lr_decay=0.5), e) for e in range(50)} == {1.0}


@given(st.sampled_from(SCHEDULES), st.floats(0.0, 1.0), st.integers(1, 40))
def test_no_schedule_rises_or_leaves_zero_to_one(schedule: str, rate: float, epochs: int) -> None:
    settings = settings_of(schedule=schedule, lr_decay=rate, epochs=epochs)
    factors = [decay_factor(settings, e) for e in range(epochs + 5)]
    assert factors[0] == 1.0
    assert all(0.0 <= b <= a for a, b in pairwise(factors))


@given(
    st.sampled_from(SCHEDULES), st.floats(0.0, 0.5), st.floats(0.0, 4.0), st.integers(0, 9), st.integers(1, 20)
)  # fmt: skip
def test_warm_up_rises_by_step_to_the_decayed_rate(
    schedule: str, decay: float, warmup_epochs: float, epoch: int, steps: int
) -> None:
    settings = settings_of(schedule=schedule, lr_decay=decay, learning_rate=0.4, warmup_epochs=warmup_epochs, epochs=10)
    found = learning_rates(settings, epoch=epoch, steps_per_epoch=steps)
    for number, rate in enumerate(found):
        done = epoch * steps + number + 1
        warm = min(1.0, done / (warmup_epochs * steps)) if warmup_epochs else 1.0
        assert rate == pytest.approx(0.4 * decay_factor(settings, epoch) * warm)


def test_warm_up_reaches_the_rate_in_its_last_step_and_never_starts_at_zero() -> None:
    settings = settings_of(learning_rate=1.0, warmup_epochs=2.0)
    both = np.concatenate([learning_rates(settings, epoch=e, steps_per_epoch=5) for e in (0, 1)])
    assert both == pytest.approx(np.arange(1, 11) / 10)


def test_one_cycle_rises_to_the_rate_at_its_peak_and_ends_near_zero_step_by_step() -> None:
    settings = settings_of(schedule="one_cycle", learning_rate=0.5, epochs=10)
    rates = np.concatenate([learning_rates(settings, epoch=e, steps_per_epoch=10) for e in range(10)])
    peak = int(rates.argmax())
    assert peak in (29, 30)
    assert rates[peak] == pytest.approx(0.5, rel=1e-2)
    assert rates[0] == pytest.approx(0.5 / 25)
    assert rates[-1] == pytest.approx(0.5e-4)
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
