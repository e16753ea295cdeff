from __future__ import annotations

from dataclasses import replace

import pytest

from tests.diagnose.curves import curve
from tuner.diagnose.error_parts import Verdict, error_parts, error_text
from tuner.diagnose.intervals import Interval


def parts(train: float, dev: float, *, target: float | None = 0.01, num: int = 2000, metric: str = "accuracy"):  # type: ignore[no-untyped-def]
    result = curve(1, lambda _: dev, train=lambda _: train)[0]
    return error_parts(result, metric=metric, num_train=num, num_dev=num, target_error=target)


def test_a_share_within_a_quarter_of_a_percent_of_its_target_has_reached_it_and_an_error_with_units_must_reach_it() -> (
    None
):
    for dev, reached in ((0.988, True), (0.987, False)):
        assert (parts(0.99, dev).verdict is Verdict.AT_TARGET) is reached
    for dev, reached in ((1.0, True), (1.002, False)):
        assert (parts(0.9, dev, target=1.0, metric="rmse").verdict is Verdict.AT_TARGET) is reached


@pytest.mark.parametrize(
    ("train", "dev", "target", "verdict"),
    [
        (0.85, 0.84, 0.01, Verdict.BIAS),
        (0.99, 0.89, 0.01, Verdict.VARIANCE),
        (0.85, 0.70, 0.01, Verdict.BOTH),
        (0.995, 0.992, 0.01, Verdict.AT_TARGET),
        (0.99, 0.985, 0.01, Verdict.UNDECIDED),
        (0.92, 0.91, 0.075, Verdict.UNDECIDED),
    ],
)
def test_verdict_follows_ngs_recipe(train: float, dev: float, target: float, verdict: Verdict) -> None:
    assert parts(train, dev, target=target).verdict is verdict


@pytest.mark.parametrize(
    ("train", "train_dev", "dev", "verdict"),
    [  # Ng's three cases, with a target error of 1 %
        (0.99, 0.91, 0.90, Verdict.VARIANCE),
        (0.99, 0.985, 0.90, Verdict.MISMATCH),
        (0.90, 0.895, 0.88, Verdict.BIAS),
        (0.90, 0.895, 0.80, Verdict.MISMATCH),  # the larger part comes first
        (0.99, 0.98, 0.5, Verdict.MISMATCH),  # no better than a guess, since the two differ so much
        (0.93, 0.83, 0.80, Verdict.BOTH),
    ],
)
def test_held_out_training_examples_split_the_gap_into_variance_and_mismatch(
    train: float, train_dev: float, dev: float, verdict: Verdict
) -> None:
    result = curve(1, lambda _: dev, train=lambda _: train)[0]
    found = error_parts(
        result, metric="accuracy", num_train=2000, num_dev=2000, target_error=0.01, guess_error=0.5,
        train_dev=(train_dev, 2000),
    )  # fmt: skip
    assert found is not None
    assert found.verdict is verdict
    assert found.variance == pytest.approx(train - train_dev)
    assert found.mismatch == pytest.approx(train_dev - dev)
    assert found.target_error + found.bias + found.variance + found.mismatch == pytest.approx(found.dev_error)


def test_parts_add_up_to_the_dev_error() -> None:
    found = parts(0.97, 0.93)
    assert found.target_error + found.bias + found.variance == pytest.approx(found.dev_error)


def test_a_small_dev_set_leaves_the_question_open() -> None:
    assert parts(0.99, 0.94, num=2000).verdict is Verdict.VARIANCE
    assert parts(0.99, 0.94, num=40).verdict is Verdict.UNDECIDED


def test_without_a_target_what_is_not_fitted_may_be_noise() -> None:
    found = parts(0.9, 0.89, target=None)
    assert not found.target_given
    assert found.verdict is Verdict.BIAS_OR_NOISE
    assert parts(0.995, 0.89, target=None).verdict is Verdict.VARIANCE
    assert parts(0.9, 0.7, target=None).verdict is Verdict.VARIANCE  # which is sure, while the rest may be noise
    assert parts(1.0, 1.0, target=None).verdict is Verdict.AT_TARGET  # no error is left


def test_what_early_stopping_gave_up_of_the_fit_is_variance_and_no_bias() -> None:
    result = curve(1, lambda _: 0.76, train=lambda _: 0.754)[0]
    found = error_parts(result, metric="accuracy", num_train=500, num_dev=500, target_error=0.01, fitted=0.988)
    assert found is not None
    assert (found.train_error, found.own_train_error) == pytest.approx((0.012, 0.246))
    assert found.target_error + found.bias + found.variance == pytest.approx(0.24)
    assert found.verdict is Verdict.VARIANCE


def test_of_an_error_no_better_than_a_guess_nothing_is_said() -> None:
    for dev, verdict in ((0.52, Verdict.NO_BETTER_THAN_A_GUESS), (0.6, Verdict.VARIANCE)):
        result = curve(1, lambda _, dev=dev: dev, train=lambda _: 0.9)[0]
        found = error_parts(result, metric="accuracy", num_train=900, num_dev=900, guess_error=0.5)
        assert found is not None
        assert found.verdict is verdict


def test_pairs_of_examples_tell_a_lead_over_a_guess_that_the_dev_interval_does_not() -> None:
    result = curve(1, lambda _: 0.48, train=lambda _: 0.45)[0]
    for margin, verdict in (
        (None, Verdict.NO_BETTER_THAN_A_GUESS),
        (0.3, Verdict.NO_BETTER_THAN_A_GUESS),
        (0.15, None),
    ):
        found = error_parts(
            result, metric="loss", num_train=200, num_dev=69, dev_interval=Interval(0.32, 0.71), guess_error=0.68,
            guess_margin=margin,
        )  # fmt: skip
        assert found is not None
        assert (found.verdict is Verdict.NO_BETTER_THAN_A_GUESS) == (verdict is not None)


def test_an_error_metric_is_its_own_error() -> None:
    found = parts(1.0, 2.0, target=0.9, metric="rmse")
    assert found.variance == pytest.approx(1.0)
    assert found.verdict is Verdict.VARIANCE


def test_unknown_metrics_and_broken_numbers_are_not_diagnosed() -> None:
    result = curve(1, lambda _: 0.9)[0]
    assert error_parts(result, metric="value", num_train=10, num_dev=10) is None
    broken = replace(result, train_metric=float("nan"))
    assert error_parts(broken, metric="accuracy", num_train=10, num_dev=10) is None


def test_a_dev_interval_at_hand_is_one_of_the_metric_and_turned_into_one_of_the_error() -> None:
    share = curve(1, lambda _: 0.94, train=lambda _: 0.99)[0]
    size = curve(1, lambda _: 2.0, train=lambda _: 1.0)[0]
    for result, metric, given, variance in (
        (share, "accuracy", Interval(0.93, 0.95), (0.04, 0.06)),
        (size, "rmse", Interval(1.8, 2.2), (0.8, 1.2)),
    ):
        found = error_parts(result, metric=metric, num_train=None, num_dev=50, dev_interval=given)
        assert found is not None
        assert (found.variance_interval.low, found.variance_interval.high) == pytest.approx(variance)


def test_bias_must_be_worth_acting_on_and_sure_of_its_sign() -> None:
    assert parts(0.97, 0.90).verdict is Verdict.VARIANCE  # 2 % of bias are sure, and little beside an error of 10 %
    assert parts(0.96, 0.955, num=40).verdict is Verdict.UNDECIDED  # 3 % would be worth it; 40 examples cannot tell


def test_a_share_is_said_in_percent_and_an_error_with_units_as_it_is() -> None:
    assert (error_text("accuracy", 0.123), error_text("f1", 0.0)) == ("12.3 %", "0.0 %")
    assert (error_text("rmse", 12.34), error_text("r2", 0.123)) == ("12.3", "0.123")
