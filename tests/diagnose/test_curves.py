from __future__ import annotations

import math

import pytest

from tests.diagnose.curves import curve
from tuner.diagnose.curves import FlagKind, curve_flags
from tuner.records import Direction, EpochResult

NOISE = 0.005


def kinds(
    epochs: list[EpochResult], *, direction: Direction = Direction.MAXIMIZE, noise: float | None = NOISE
) -> set[FlagKind]:
    return {f.kind for f in curve_flags(epochs, direction=direction, noise_sd=noise)}


def rising(epoch: int) -> float:
    """Rises fast, then settles."""
    return 0.95 - 0.5 * math.exp(-epoch / 3)


def test_a_healthy_curve_has_no_flag() -> None:
    assert kinds(curve(20, rising)) == set()


def test_overfitting_names_the_epoch_of_the_lowest_dev_loss() -> None:
    epochs = curve(20, rising, dev_loss=lambda e: 0.3 + 0.02 * abs(e - 8), train_loss=lambda e: 1 / e)
    flag = next(f for f in curve_flags(epochs, direction=Direction.MAXIMIZE) if f.kind is FlagKind.OVERFITTING)
    assert "from epoch 8" in flag.text


def test_one_bad_last_epoch_is_no_overfitting() -> None:
    epochs = curve(20, rising, dev_loss=lambda e: 5.0 if e == 20 else 1 / e)
    assert FlagKind.OVERFITTING not in kinds(epochs)


def test_a_dev_loss_that_rises_with_the_training_loss_is_no_overfitting() -> None:
    epochs = curve(20, rising, dev_loss=lambda e: 0.1 * e, train_loss=lambda e: 0.1 * e)
    assert FlagKind.OVERFITTING not in kinds(epochs)


@pytest.mark.parametrize("direction", Direction)
def test_still_improving_at_the_end(direction: Direction) -> None:
    sign = 1 if direction is Direction.MAXIMIZE else -1
    assert FlagKind.STILL_IMPROVING in kinds(curve(20, lambda e: 5 + sign * 0.02 * e), direction=direction)
    assert FlagKind.STILL_IMPROVING not in kinds(curve(20, lambda e: 5 - sign * 0.02 * e), direction=direction)


def test_best_in_the_first_tenth() -> None:
    assert FlagKind.BEST_EARLY in kinds(curve(30, lambda e: 0.9 - 0.001 * e))


def test_saturated_early() -> None:
    epochs = curve(20, lambda e: 0.9 if e >= 4 else 0.5)
    assert FlagKind.SATURATED_EARLY in kinds(epochs)
    assert FlagKind.SATURATED_EARLY not in kinds(curve(20, rising))


def test_late_variance_needs_more_than_the_noise_of_the_dev_set() -> None:
    jumping = curve(20, lambda e: 0.9 + 0.03 * (-1) ** e)
    assert FlagKind.LATE_VARIANCE in kinds(jumping)
    assert FlagKind.LATE_VARIANCE not in kinds(jumping, noise=0.05)
    assert FlagKind.LATE_VARIANCE not in kinds(curve(20, lambda e: 0.5 + 0.02 * e))


def test_divergence_comes_with_the_reason_and_hides_the_shape() -> None:
    flags = curve_flags(
        curve(20, lambda e: 0.5 + 0.02 * e),
        direction=Direction.MAXIMIZE,
        reason="diverged: the training loss became nan in epoch 21",
    )
    assert [f.kind for f in flags] == [FlagKind.DIVERGED]


def test_signals_of_the_network() -> None:
    facts = {
        "dead_units": {"1": 0.1, "2": 0.8},
        "gradient_norms": {"1.weight": 1e-7, "2.weight": 1e-3, "3.weight": 500.0},
    }
    flags = {f.kind: f.text for f in curve_flags([], direction=Direction.MAXIMIZE, facts=facts)}
    assert set(flags) == {FlagKind.DEAD_UNITS, FlagKind.VANISHING_GRADIENTS, FlagKind.EXPLODING_GRADIENTS}
    assert "80%" in flags[FlagKind.DEAD_UNITS]
    assert "3.weight" in flags[FlagKind.EXPLODING_GRADIENTS]


@pytest.mark.parametrize("facts", [{"dead_units": None}, {"gradient_norms": {"a": None, "b": "x"}}, {"dead_units": 3}])
def test_facts_of_another_shape_are_ignored(facts: dict[str, object]) -> None:
    assert curve_flags([], direction=Direction.MAXIMIZE, facts=facts) == ()


def test_short_or_broken_curves_say_nothing() -> None:
    assert kinds(curve(3, rising)) == set()
    assert kinds(curve(20, lambda e: math.nan if e == 7 else 0.5)) == set()


def test_two_epochs_that_agree_are_enough_for_overfitting() -> None:
    epochs = curve(20, rising, dev_loss=lambda e: 1 / e if e <= 18 else 0.3, train_loss=lambda e: 1 / e)
    assert FlagKind.OVERFITTING in kinds(epochs)
    one = curve(20, rising, dev_loss=lambda e: 1 / e if e <= 19 else 0.3, train_loss=lambda e: 1 / e)
    assert FlagKind.OVERFITTING not in kinds(one)


def test_where_the_noise_is_not_known_nothing_is_said_to_lie_within_it() -> None:
    assert kinds(curve(20, lambda e: 0.9 if e >= 4 else 0.5), noise=None) == set()
    assert FlagKind.STILL_IMPROVING in kinds(curve(20, lambda e: 0.5 + 0.02 * e), noise=None)


def test_a_late_gain_is_measured_against_all_that_was_gained() -> None:
    slight = curve(20, lambda e: 0.1 if e == 1 else 0.9 + 0.0005 * e)
    assert FlagKind.STILL_IMPROVING not in kinds(slight, noise=None)
    assert FlagKind.STILL_IMPROVING in kinds(curve(20, lambda e: 0.9 + 0.0005 * e), noise=None)
