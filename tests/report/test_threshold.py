"""From which probability on the second of two classes is best answered, and where that gains nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.report.simulate import SimulatedStudy
from tuner.paths import StudyPaths
from tuner.report.analysis import Analysis
from tuner.report.techniques import techniques_in_words, threshold_on_test
from tuner.store.study_data import StudyData


def of_two_classes(mixed: SimulatedStudy, paths: StudyPaths, *, share: float, metric: str) -> StudyData:
    """A study of calibrated probabilities, by which so large a share of the examples is of the second class."""
    random = np.random.default_rng(0)
    logits = random.normal(size=800) * 2 + np.log(share / (1 - share))
    second = 1 / (1 + np.exp(-logits))
    np.save(paths.dev_targets, (random.random(len(second)) < second).astype(np.int64))
    for record in mixed.study.records:
        np.save(paths.trial(record.number).predictions, np.stack([1 - second, second], axis=1).astype(np.float32))
    data = {**mixed.study.facts["data"], "class_names": ["healthy", "sick"]}
    return replace(mixed.study, metric=metric, facts={**mixed.study.facts, "data": data})


def said(study: StudyData, paths: StudyPaths) -> list[str]:
    return [line for line in techniques_in_words(Analysis(study, paths)) if line.startswith("Decision threshold")]


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "by"), [("balanced_accuracy", "balanced_accuracy"), ("auroc", "f1")])
def test_a_rare_class_is_best_answered_from_a_smaller_probability_on(
    metric: str, by: str, mixed: SimulatedStudy, mixed_paths: StudyPaths
) -> None:
    study = of_two_classes(mixed, mixed_paths, share=0.05, metric=metric)
    found = Analysis(study, mixed_paths).threshold_gain
    assert found is not None
    assert found.metric == by
    assert found.threshold < 0.4
    assert found.value - found.usual > found.chosen_apart > 0  # what chose it flatters it
    (line,) = said(study, mixed_paths)
    assert f"with sick answered from a probability of {found.threshold:.2g} on, dev {by} is {found.value:.4f}" in line
    assert line.endswith(f"to predict by it: --threshold {found.threshold:.2g}.")


@pytest.mark.slow
def test_what_dev_chose_is_told_of_the_test_examples(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    study = of_two_classes(mixed, mixed_paths, share=0.05, metric="auroc")
    trials = Analysis(study, mixed_paths).answering
    chosen = Analysis(study, mixed_paths).threshold_gain
    assert chosen is not None
    mixed_paths.test.mkdir()
    np.save(mixed_paths.tested("targets"), np.array([0] * 90 + [1] * 10))
    sick = np.array([0.0] * 85 + [chosen.threshold + 0.01] * 13 + [0.9] * 2)  # 10 of 15 are found, for 2 of 2
    for name in ("predictions", "average"):
        np.save(mixed_paths.tested(name), np.stack([1 - sick, sick], axis=1))

    def told(trials: tuple[int, ...]) -> list[str]:
        test = {"trial": trials[0], "value": 1.0, "interval": [1.0, 1.0], "at": "2026-01-01T00:00:00+00:00"}
        average = {"average": {"trials": list(trials), "value": 1.0, "interval": [1.0, 1.0]}, "by_average": True}
        tests = [test | (average if len(trials) > 1 else {})]
        return list(threshold_on_test(Analysis(replace(study, facts={**study.facts, "tests": tests}), mixed_paths)))

    (line,) = told(trials)
    assert f"with sick answered from a probability of {chosen.threshold:.2g} on, as dev chose, f1 is 0.8000" in line
    assert "against 0.3333 from 0.5 on, 46.7 points more" in line
    assert line.endswith(": it gains.")
    assert told((*trials, 99)) == []  # dev chose it for others


@pytest.mark.slow
def test_of_calibrated_probabilities_accuracy_is_best_at_one_half(
    mixed: SimulatedStudy, mixed_paths: StudyPaths
) -> None:
    study = of_two_classes(mixed, mixed_paths, share=0.5, metric="accuracy")
    found = Analysis(study, mixed_paths).threshold_gain
    assert found is not None
    assert found.threshold == pytest.approx(0.5, abs=0.15)
    assert found.chosen_apart <= 0
    assert said(study, mixed_paths) == []


def test_of_more_classes_there_is_no_threshold(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    assert Analysis(mixed.study, mixed_paths).threshold_gain is None
    assert Analysis(mixed.study, None).threshold_gain is None
