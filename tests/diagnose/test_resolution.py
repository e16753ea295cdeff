"""What a dev set of a size can resolve, held against simulated pairs of networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tuner.diagnose.resolution import _resolution, folds_instead, resolution_text

SWEEP: dict[str, Any] = {"data": {"source": "x.csv", "stream": False}, "objective": {"target_error": None}}
DATA = {"num_train": 107, "num_dev": 36, "folds": 0}


@pytest.mark.parametrize("num_dev", [40, 400, 4000])
def test_a_difference_of_that_size_is_twice_the_noise_of_a_paired_one(num_dev: int) -> None:
    draw = np.random.default_rng(0)
    # Two networks that are right in 90 % of cases, and whose successes are correlated by one half.
    shared, both = draw.random((3000, num_dev)) < 0.5, draw.random((3000, num_dev)) < 0.9
    one, other = (np.where(shared, both, draw.random((3000, num_dev)) < 0.9).mean(axis=1) for _ in range(2))
    assert _resolution("accuracy", num_dev=num_dev) == pytest.approx(1.96 * float((one - other).std()), rel=0.1)


def test_it_is_told_in_the_units_of_the_metric() -> None:
    said = "360 dev examples tell networks apart whose accuracy differs by 3.1 points or more (near 0.90)"
    assert resolution_text("accuracy", num_dev=360) == said
    assert "by 1 points or more (near 0.99)" in resolution_text("accuracy", num_dev=360, target_error=0.01)
    assert resolution_text("rmse", num_dev=100).endswith("whose rmse differs by 14 % or more")
    assert resolution_text("r2", num_dev=100).endswith("whose r2 differs by 0.07 or more")
    assert resolution_text("loss", num_dev=100) == ""
    assert resolution_text("my_own", num_dev=100) == ""


def test_of_few_examples_folds_are_proposed() -> None:
    said = folds_instead("accuracy", DATA, SWEEP)
    assert said == (
        "the dev set has 36 examples, which cannot tell networks apart whose accuracy differs by less than 9.8 points: "
        "data.folds: 5 makes a dev example of each of the 143, once (4.9 points), and takes about 5 times as long"
    )


def test_they_are_proposed_of_more_examples_where_a_dev_set_has_not_told_a_network_from_a_guess() -> None:
    data = {**DATA, "num_train": 600, "num_dev": 200}
    assert folds_instead("accuracy", data, SWEEP) == ""
    assert "a dev example of each of the 800" in folds_instead("accuracy", data, SWEEP, is_untold=True)
    assert folds_instead("accuracy", {**data, "num_train": 6000}, SWEEP, is_untold=True) == ""


@pytest.mark.parametrize("metric", ["loss", "my_own"])
def test_of_a_metric_whose_noise_no_formula_tells_they_are_proposed_too(metric: str) -> None:
    assert folds_instead(metric, DATA, SWEEP) == (
        "the dev set has 36 examples, too few to rank networks by: data.folds: 5 makes a dev example of each of the "
        "143, once, and takes about 5 times as long"
    )


@pytest.mark.parametrize(
    ("data", "sweep"),
    [
        ({**DATA, "folds": 5}, SWEEP),
        ({**DATA, "num_train": 600}, SWEEP),
        ({**DATA, "dev_apart": True}, SWEEP),
        (DATA, {**SWEEP, "data": {"stream": True}}),
        (DATA, {**SWEEP, "command": "python train.py"}),
        ({}, SWEEP),
        (DATA, {}),
    ],
)
def test_where_folds_are_used_needless_or_impossible_none_are_proposed(data: Any, sweep: Any) -> None:
    assert folds_instead("accuracy", data, sweep) == ""
