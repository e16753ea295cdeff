from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binomtest

from tuner.diagnose.intervals import (
    Interval,
    auroc_interval,
    cross_validated_interval,
    difference_interval,
    wilson_interval,
)
from tuner.report.certainty.resampling import resample_weights, resampled_metric


@given(st.integers(1, 10_000), st.data())
def test_wilson_agrees_with_scipy_and_stays_in_range(count: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, count))
    interval = wilson_interval(hits / count, count)
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    assert interval.low == pytest.approx(expected.low, abs=1e-6)
    assert interval.high == pytest.approx(expected.high, abs=1e-6)
    assert 0 <= interval.low <= hits / count <= interval.high <= 1


@pytest.mark.parametrize("count", [114, 360, 2000])
def test_wilson_covers_the_truth_in_95_percent_of_dev_sets(count: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.85, 0.99, size=20_000)
    seen = rng.binomial(count, truth) / count
    covered = np.mean([t in wilson_interval(float(s), count) for t, s in zip(truth, seen, strict=True)])
    assert 0.93 <= covered <= 0.97


def test_difference_interval_covers_the_truth_in_95_percent() -> None:
    rng = np.random.default_rng(1)
    covered = []
    for _ in range(4000):
        a, b = rng.uniform(0.9, 0.99, size=2)
        x, y = rng.binomial(360, a) / 360, rng.binomial(1000, b) / 1000
        covered.append(a - b in difference_interval(x, wilson_interval(x, 360), y, wilson_interval(y, 1000)))
    assert 0.93 <= np.mean(covered) <= 0.97


def test_mirroring_turns_an_accuracy_into_its_error() -> None:
    mirrored = Interval(0.9, 0.95).mirrored(1.0)
    assert (mirrored.low, mirrored.high) == pytest.approx((0.05, 0.1))


@pytest.mark.slow
@pytest.mark.parametrize("separation", [1.0, 2.4, 4.0])
@pytest.mark.parametrize("classes", [2, 4])
def test_the_interval_of_an_auroc_covers_it_also_near_one(classes: int, separation: float) -> None:
    rng = np.random.default_rng(0)

    def draw(size: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        targets = rng.integers(classes, size=size)
        logits = rng.normal(size=(size, classes))
        logits[np.arange(size), targets] += separation
        return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), targets

    truth = float(resampled_metric("auroc", *draw(100_000), np.ones((1, 100_000)))[0])
    weights = resample_weights(100, resamples=50)
    covered = []
    for _ in range(400):
        shares, targets = draw(100)
        areas = resampled_metric("auroc", shares, targets, weights)
        counts = np.bincount(targets, minlength=classes).tolist()
        interval = auroc_interval(float(areas[0]), class_counts=counts, variance=float(areas[1:].var()))
        assert interval.low <= areas[0] <= interval.high
        covered.append(truth in interval)
    assert np.mean(covered) >= 0.93


def test_an_auroc_of_one_class_is_anything() -> None:
    assert auroc_interval(0.5, class_counts=[20, 0], variance=0.0) == Interval(0.0, 1.0)
    perfect = auroc_interval(1.0, class_counts=[50, 50], variance=0.0)
    assert (0.9 < perfect.low < 0.99, perfect.high) == (True, 1.0)


def test_intervals_of_folds_are_those_of_nadeau_and_bengio() -> None:
    interval = cross_validated_interval([0.8, 0.9, 0.85, 0.95, 0.75], num_train=80, num_dev=20)
    half = 2.7764451 * np.sqrt((1 / 5 + 20 / 80) * 0.00625)  # Student's quantile for 4 degrees of freedom
    assert (interval.low, interval.high) == pytest.approx((0.85 - half, 0.85 + half))


def test_half_of_its_width_is_what_it_reaches_to_either_side() -> None:
    assert Interval(0.2, 0.5).half_width == pytest.approx(0.15)
