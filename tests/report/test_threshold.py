"""A threshold chosen on dev: the best one by a count by hand, and a gain that noise does not make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.report.simulate import simulate
from tuner.report.certainty.mistakes import Mistakes
from tuner.report.certainty.threshold import ChosenThreshold, threshold_of
from tuner.store.study_data import StudyData

Bools = NDArray[np.bool_]


def found_by(probability: NDArray[np.float64], is_yes: Bools) -> Mistakes:
    return Mistakes(
        part="dev", trial=3, predictions=np.stack([1 - probability, probability], axis=1),
        targets=is_yes.astype(np.int64), names=("no", "yes"), rows=None, images=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def study() -> StudyData:
    return simulate(trials=2).study


def chosen(study: StudyData, rule: object, found: Mistakes) -> ChosenThreshold | None:
    return threshold_of(replace(study, facts={"sweep": {"objective": {"threshold": rule}}}), found)


def drawn(share: float, *, count: int = 1000, lean: float = 0.0) -> Mistakes:
    """Probabilities that are right but for a lean of their log odds."""
    random = np.random.default_rng(1)
    odds = random.normal(np.log(share / (1 - share)), 1.5, count)
    is_yes = random.random(count) < 1 / (1 + np.exp(-odds))
    return found_by(1 / (1 + np.exp(-(odds - lean))), is_yes)


@pytest.mark.slow
def test_the_threshold_of_the_least_cost_is_where_the_costs_balance(study: StudyData) -> None:
    found = chosen(study, {"false_negative": 9, "false_positive": 1}, drawn(0.2, count=4000))
    assert found is not None
    assert found.threshold == pytest.approx(0.1, abs=0.06)
    assert found.value < found.usual
    assert found.gain.low > 0
    assert (found.measure, found.answer, found.trial) == ("cost", "yes", 3)


def test_a_threshold_mends_probabilities_that_lean(study: StudyData) -> None:
    found = chosen(study, "accuracy", drawn(0.5, lean=2.0))
    assert found is not None
    assert found.threshold < 0.3
    assert found.gain.low > 0
    assert found.gain.low < found.honest_gain < found.value - found.usual + 0.02


def test_of_noise_nothing_is_said_to_be_gained(study: StudyData) -> None:
    random = np.random.default_rng(5)
    found = chosen(study, "accuracy", found_by(random.random(200), random.random(200) < 0.5))
    assert found is not None
    assert found.value > found.usual  # chosen on the same examples
    assert found.gain.low < 0


def test_a_threshold_counts_as_the_metrics_do(study: StudyData) -> None:
    probability, is_yes = np.array([0.1, 0.2, 0.3, 0.4, 0.6]), np.array([False, False, True, True, True])
    for rule in ("accuracy", "balanced_accuracy", "f1"):
        found = chosen(study, rule, found_by(probability, is_yes))
        assert found is not None
        assert found.threshold == pytest.approx(0.25)
        assert found.value == 1.0
    assert found.usual == pytest.approx((2 / 4 + 4 / 6) / 2)


@pytest.mark.parametrize("rule", [None, "auroc", {"false_negative": "much", "false_positive": 1}, 7])
def test_no_threshold_is_chosen_where_none_is_asked_for_or_a_database_holds_something_else(
    rule: object, study: StudyData
) -> None:
    assert chosen(study, rule, drawn(0.5)) is None
