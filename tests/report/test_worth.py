"""Whether a network was worth it: the baselines of a study whose predictions are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.report.simulate import SimulatedStudy
from tuner.diagnose.error_parts import Verdict
from tuner.paths import StudyPaths
from tuner.report.advice import advice
from tuner.report.analysis import Analysis
from tuner.report.page.html import render_page
from tuner.report.summary import summarise
from tuner.report.worth import baseline_verdict
from tuner.store.facts import BASELINES_KEY
from tuner.store.study_data import StudyData


def with_baselines(study: StudyData, **facts: object) -> StudyData:
    return replace(study, facts={**study.facts, BASELINES_KEY: facts})


def shares_with(mixed: SimulatedStudy, paths: StudyPaths, name: str, *, right: float) -> dict[str, object]:
    """Lay out predictions that are right for so large a share of the dev examples; what a study remembers of them."""
    targets = mixed.targets
    classes = next(iter(mixed.predictions.values())).shape[1]
    said = np.where(np.arange(len(targets)) < right * len(targets), targets, (targets + 1) % classes)
    paths.baselines.mkdir(exist_ok=True)
    np.save(paths.baseline(name), np.eye(classes, dtype=np.float32)[said])
    return {"value": float((said == targets).mean()), "loss": 1.0, "examples": 10, "seconds": 0.5, "sha256": None}


@pytest.fixture
def study(mixed: SimulatedStudy) -> StudyData:
    """Of a sweep file that gives no target error."""
    data = {**mixed.study.facts["data"], "sha256": None}
    sweep = {**mixed.study.facts["sweep"], "objective": {"metric": "accuracy"}}
    return replace(mixed.study, facts={**mixed.study.facts, "data": data, "sweep": sweep})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "standing", "said"),
    [
        (0.3, "worse", "No simple model is as good as the best trial: linear comes nearest, dev accuracy 0.3"),
        (None, "as good", "Linear is as good as the best trial, within noise: dev accuracy "),
        (1.0, "better", "Linear is better than the best trial: dev accuracy 1.0000 against "),
    ],
)
def test_a_simple_model_is_held_against_the_best_trial(
    mixed: SimulatedStudy, mixed_paths: StudyPaths, study: StudyData, right: float | None, standing: str, said: str
) -> None:
    best = Analysis(study, mixed_paths).best
    assert best is not None
    assert best.value is not None
    linear = shares_with(mixed, mixed_paths, "linear", right=best.value if right is None else right)
    analysis = Analysis(with_baselines(study, linear=linear), mixed_paths)
    (found,) = analysis.baselines
    assert found.standing == standing
    assert found.interval is not None
    assert found.value in found.interval
    assert baseline_verdict(analysis).startswith(said)
    lines = summarise(analysis).lines
    assert lines.index(baseline_verdict(analysis)) < next(i for i, line in enumerate(lines) if line.startswith("Next"))
    assert standing in render_page(analysis)


def test_a_baseline_without_predictions_keeps_its_figure_and_is_compared_with_nothing(
    mixed: SimulatedStudy, mixed_paths: StudyPaths, study: StudyData
) -> None:
    linear = shares_with(mixed, mixed_paths, "linear", right=0.9)
    mixed_paths.baseline("linear").unlink()
    analysis = Analysis(with_baselines(study, linear=linear), mixed_paths)
    assert baseline_verdict(analysis) == ""
    assert "Baselines on the same dev examples: linear 0.9" in "\n".join(summarise(analysis).lines)
    assert analysis.baselines[0].to_json()["standing"] == "not known"


def test_what_failed_is_said_and_what_is_of_other_data_is_left_out(mixed_paths: StudyPaths, study: StudyData) -> None:
    failed = {"failed": "it took more than 120 seconds", "sha256": None}
    other = {"value": 0.9, "loss": 1.0, "examples": 5, "seconds": 1.0, "sha256": "of other data"}
    analysis = Analysis(with_baselines(study, boosting=failed, linear=other), mixed_paths)
    assert analysis.baselines == ()
    assert "The baseline boosting could not be trained: it took more than 120 seconds." in summarise(analysis).lines


@pytest.mark.slow
def test_an_error_that_a_simple_model_does_not_make_is_no_noise(
    mixed: SimulatedStudy, mixed_paths: StudyPaths, study: StudyData
) -> None:
    """Networks that do not fit even the training set, where a baseline is right on all dev examples."""
    worse = [
        replace(r, best=replace(r.best, train_metric=0.6), last=replace(r.last, train_metric=0.6))
        for r in study.records
        if r.best is not None and r.last is not None
    ]
    poor = replace(study, records=tuple(worse))
    before = Analysis(poor, mixed_paths).best_parts
    assert before is not None
    assert before.reached_by == ""
    boosting = shares_with(mixed, mixed_paths, "boosting", right=1.0)
    analysis = Analysis(with_baselines(poor, boosting=boosting), mixed_paths)
    parts = analysis.best_parts
    assert parts is not None
    assert parts.verdict in (Verdict.BIAS, Verdict.BOTH)
    assert parts.reached_by == "boosting"
    assert "boosting shows that" in summarise(analysis).diagnosis
    assert "of boosting" in advice(analysis).why


def test_two_that_are_right_on_the_same_examples_may_differ_on_others(
    mixed: SimulatedStudy, mixed_paths: StudyPaths, study: StudyData
) -> None:
    best = Analysis(study, mixed_paths).best
    assert best is not None
    (mixed_paths.baselines).mkdir(exist_ok=True)
    np.save(mixed_paths.baseline("linear"), mixed.predictions[best.number])
    linear = {"value": best.value, "loss": 1.0, "examples": 10, "seconds": 0.5, "sha256": None}
    (found,) = Analysis(with_baselines(study, linear=linear), mixed_paths).baselines
    assert found.lead_interval is not None
    assert found.lead_interval.half_width == pytest.approx(1.96**2 / (len(mixed.targets) + 1.96**2))
