"""What a study takes for the noise of its dev metric."""

from __future__ import annotations

import math

import pytest

from tests.report.test_leaderboard import record
from tuner.diagnose.noise import standard_error
from tuner.sweep.study import dev_noise

RECORDS = [record(0, 0.5), record(1, 0.2), record(2, 0.9), record(3, math.nan)]


@pytest.mark.parametrize(
    ("metric", "best"), [("accuracy", 0.9), ("auroc", 0.9), ("r2", 0.9), ("rmse", 0.2), ("mape", 0.2)]
)
def test_it_is_that_of_the_best_trial_the_greatest_share_and_the_least_error(metric: str, best: float) -> None:
    wanted = standard_error(metric, best, num_examples=300)
    assert 0 < dev_noise(metric, {"num_dev": 300}, RECORDS) == wanted


def test_without_values_or_the_size_of_the_dev_set_none_is_known() -> None:
    assert dev_noise("accuracy", {"num_dev": 300}, []) == 0.0
    assert dev_noise("accuracy", {}, RECORDS) == 0.0
