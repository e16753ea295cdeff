"""Whether more data would help, asked of learning curves whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from tuner.diagnose.more_data import MoreData, mean_interval, more_data

SEEDS, RIGHT = 100, 95


def answers(gain: float, *, error: float, num_dev: int, seed_sd: float = 0.003) -> list[MoreData]:
    """Those on a hundred dev sets, where the last examples bring so much of the accuracy, three seeds each."""
    found = []
    for seed in range(SEEDS):
        draw = np.random.default_rng(seed)
        # Both networks of a seed fail on about the same examples: their difference varies as one of them does.
        of_dev_set = draw.normal(0.0, np.sqrt(error * (1 - error) / num_dev))
        gains = [[gain + of_dev_set + draw.normal(0.0, seed_sd) for _ in range(3)] for _ in range(2)]
        interval = mean_interval(
            float(np.mean(gains[1])), dev_variance=error * (1 - error) / num_dev, seeds=gains, count=3
        )
        assert interval is not None
        found.append(more_data(interval, error=error))
    return found


@pytest.mark.parametrize(
    ("gain", "error", "num_dev", "right"),
    [
        (0.03, 0.10, 4000, {MoreData.HELPS}),
        (0.0, 0.10, 4000, {MoreData.HARDLY, MoreData.CANNOT_TELL}),
        (0.0, 0.20, 20_000, {MoreData.HARDLY}),
        (0.0, 0.10, 100, {MoreData.CANNOT_TELL, MoreData.HARDLY}),
        (-0.01, 0.10, 1000, {MoreData.HARDLY, MoreData.CANNOT_TELL}),
        (0.02, 0.10, 60, {MoreData.CANNOT_TELL, MoreData.HELPS}),
    ],
)
def test_the_answer_is_right_in_95_of_100_draws(gain: float, error: float, num_dev: int, right: set[MoreData]) -> None:
    assert sum(answer in right for answer in answers(gain, error=error, num_dev=num_dev)) >= RIGHT


@pytest.mark.parametrize("dev_share", [0.0, 0.5, 0.95])
def test_an_interval_holds_the_mean_in_95_of_100_draws(dev_share: float) -> None:
    draw, held = np.random.default_rng(0), 0
    for _ in range(1000):
        of_dev_set = draw.normal(0.0, np.sqrt(dev_share / 3))
        groups = [(of_dev_set + draw.normal(0.0, np.sqrt(1 - dev_share), 3)).tolist() for _ in range(3)]
        interval = mean_interval(float(np.mean(groups[0])), dev_variance=dev_share / 3, seeds=groups, count=3)
        assert interval is not None
        held += 0.0 in interval
    assert 930 <= held <= 975


def test_one_seed_has_no_interval() -> None:
    assert mean_interval(0.1, dev_variance=0.01, seeds=[[0.1], [0.2]], count=1) is None


def test_without_an_error_there_is_nothing_to_gain() -> None:
    gain = mean_interval(0.1, dev_variance=0.0, seeds=[[0.05, 0.15]], count=2)
    assert gain is not None
    assert more_data(gain, error=0.0) is MoreData.HARDLY
