"""The usual standard errors against the spread of the metrics over many samples."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, r2_score, roc_auc_score

from tests.depth import but_deep
from tuner.diagnose.noise import standard_error

NUM_EXAMPLES, ROUNDS = 400, 600


def spread(metric: str) -> tuple[float, float]:
    """Mean and standard deviation of a metric over samples."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(ROUNDS):
        y = rng.permutation(NUM_EXAMPLES) % 2
        score = y + rng.standard_normal(NUM_EXAMPLES)
        truth = rng.standard_normal(NUM_EXAMPLES)
        error = 0.7 * rng.standard_normal(NUM_EXAMPLES)
        match metric:
            case "accuracy":
                found.append(float(np.mean((score > 0.5) == y)))
            case "f1":
                found.append(f1_score(y, score > 0.5, average="macro"))
            case "auroc":
                found.append(roc_auc_score(y, score))
            case "rmse":
                found.append(float(np.sqrt(np.mean(error**2))))
            case "r2":
                found.append(r2_score(truth + error, truth))
    return float(np.mean(found)), float(np.std(found))


@pytest.mark.slow
@pytest.mark.parametrize("metric", but_deep(["accuracy", "f1", "auroc", "rmse", "r2"], "f1", "auroc"))
def test_it_is_the_spread_over_samples(metric: str) -> None:
    mean, deviation = spread(metric)
    assert standard_error(metric, mean, num_examples=NUM_EXAMPLES) == pytest.approx(deviation, rel=0.15)


@pytest.mark.parametrize("metric", ["accuracy", "auroc", "rmse", "r2", "f1"])
def test_it_is_finite_and_positive_or_zero_at_the_ends(metric: str) -> None:
    for value in (-1.0, 0.0, 0.5, 1.0):
        assert 0.0 <= standard_error(metric, value, num_examples=10) < 1.0


@pytest.mark.parametrize("metric", ["accuracy", "f1", "auroc"])
def test_without_a_mistake_other_examples_may_have_some(metric: str) -> None:
    assert standard_error(metric, 1.0, num_examples=30) > 0.01
    assert standard_error(metric, 1.0, num_examples=30) <= standard_error(metric, 0.96, num_examples=30)


def test_none_is_known_of_a_loss_or_of_an_own_metric() -> None:
    assert standard_error("loss", 0.3, num_examples=100) == 0.0
    assert standard_error("own_gain", 0.3, num_examples=100) == 0.0


@pytest.mark.parametrize("metric", ["accuracy", "auroc", "rmse", "r2", "f1"])
def test_four_times_the_examples_halve_it(metric: str) -> None:
    few, many = (standard_error(metric, 0.8, num_examples=n) for n in (10_000, 40_000))
    assert few / many == pytest.approx(2.0, rel=1e-3)


def test_that_of_a_guessing_auroc_is_the_one_of_the_rank_sum_test() -> None:
    each = 200
    exact = np.sqrt((2 * each + 1) / (12 * each * each))
    assert standard_error("auroc", 0.5, num_examples=2 * each) == pytest.approx(exact)
