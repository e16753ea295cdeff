"""What an answer that looks at no input would score."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from tuner.diagnose.guess import guess_error


def test_of_classes_it_is_the_most_frequent_one() -> None:
    targets = np.array([0] * 7 + [1] * 2 + [4], dtype=np.int64)
    assert guess_error("accuracy", targets) == pytest.approx(0.3)
    assert guess_error("balanced_accuracy", targets) == pytest.approx(2 / 3)
    assert guess_error("auroc", targets) == 0.5
    assert guess_error("loss", targets) == pytest.approx(entropy([0.7, 0.2, 0.1]))
    assert guess_error("f1", targets) is None


def test_of_numbers_it_is_their_mean_or_their_median() -> None:
    targets = np.random.default_rng(0).normal(3.0, 2.0, (500, 1)).astype(np.float32)
    assert guess_error("rmse", targets) == pytest.approx(float(targets.std()), rel=1e-6)
    assert guess_error("r2", targets) == 1.0
    assert guess_error("mae", targets) == pytest.approx(float(np.abs(targets - np.median(targets)).mean()), rel=1e-6)
    assert guess_error("loss", targets) is None
    prices, answers = np.exp(targets), np.linspace(0.0, 60.0, 5000)
    by_percent = np.abs((prices - answers) / prices).mean(axis=0)
    assert guess_error("mape", prices) == pytest.approx(float(by_percent.min()), rel=1e-3)


def test_of_labels_and_of_nothing_it_is_not_known() -> None:
    assert guess_error("f1", np.zeros((5, 3), dtype=np.uint8)) is None
    assert guess_error("accuracy", np.zeros(0, dtype=np.int64)) is None
