from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tuner.diagnose.intervals import Interval, difference_interval, wilson_interval


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
