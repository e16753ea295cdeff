"""What a study answers with: the mean of the best trials where that is better or asked for, else the winner alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.report.simulate import SimulatedStudy
from tests.report.test_average import in_regression
from tuner.paths import StudyPaths
from tuner.report.analysis import Analysis
from tuner.report.certainty.answer import final_answer
from tuner.report.certainty.tested import current_test, figure_of_test, outdated_test
from tuner.report.summary import summarise
from tuner.report.verdict import on_test_and_dev
from tuner.store.study_data import StudyData


def swept(study: StudyData, *, kind: str = "tabular", **more: Any) -> StudyData:
    """A study with what its sweep file says of the answer."""
    return replace(study, facts={**study.facts, "sweep": {"model": {"kind": kind}, **more}})


def answering(study: StudyData, paths: StudyPaths | None) -> tuple[int, ...]:
    answer = final_answer(study, paths)
    assert answer is not None
    return answer.numbers


def test_of_a_table_the_mean_of_the_best_answers(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    study = swept(in_regression(mixed, mixed_paths, shared=0.5))
    analysis = Analysis(study, mixed_paths)
    best = tuple(record.number for record in analysis.statistics.ranked[:5])
    assert analysis.answering == answering(study, mixed_paths) == best
    assert analysis.answer is not None
    assert analysis.answer.gain is not None
    assert analysis.answer.value == analysis.answer.gain.value < analysis.statistics.ranked[0].value  # type: ignore[operator]
    said = summarise(analysis)
    assert said.lines[1] == said.answer
    assert said.answer.startswith(f"Answer: the mean of the predictions of trials {', '.join(map(str, best[:4]))} and ")
    assert f"no worse than the best trial on dev; by trial {best[0]} alone: --average 1." in said.answer
    assert not [line for line in said.advice if line.startswith("Average:")]
    # Honest of the average is what is honest of the winner, and the gain on examples that have not chosen.
    honest = analysis.answer.value + analysis.luck_of_answer  # type: ignore[operator]
    winner = analysis.statistics.ranked[0].value + analysis.luck  # type: ignore[operator]
    assert honest == pytest.approx(winner - (analysis.answer.gain.chosen_apart or 0.0))


def test_bad_trials_are_left_out_of_the_mean(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    study = swept(in_regression(mixed, mixed_paths, shared=0.5))
    ranked, truth = Analysis(study, mixed_paths).statistics.ranked, np.load(mixed_paths.dev_targets)
    bad = {record.number for record in ranked[2:]}
    for number in bad:
        error = np.load(mixed_paths.trial(number).predictions) - truth
        np.save(mixed_paths.trial(number).predictions, truth + 5 * error)
    worse = {r.number: replace(r, best=replace(r.best, dev_metric=5.0)) for r in ranked if r.best is not None}
    study = replace(study, records=tuple(worse[r.number] if r.number in bad else r for r in study.records))
    assert answering(study, mixed_paths) == (ranked[0].number, ranked[1].number)
    assert answering(swept(study, answer="average"), mixed_paths) == (ranked[0].number, ranked[1].number)


def test_a_winner_far_ahead_answers_alone(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    study = swept(in_regression(mixed, mixed_paths, shared=0.5))
    ranked = Analysis(study, mixed_paths).statistics.ranked
    best, truth = ranked[0], np.load(mixed_paths.dev_targets)
    np.save(mixed_paths.trial(best.number).predictions, truth + 0.01)
    assert best.best is not None
    ahead = replace(best, best=replace(best.best, dev_metric=0.01))
    study = replace(study, records=tuple(ahead if r.number == best.number else r for r in study.records))
    assert answering(study, mixed_paths) == (best.number,)
    (said,) = (line for line in summarise(Analysis(study, mixed_paths)).advice if line.startswith("Average:"))
    assert ": it loses; to predict by it: --average 2." in said


@pytest.mark.parametrize(
    ("more", "count"),
    [
        ({"kind": "mlp"}, 1),
        ({"kind": "mlp", "answer": "average"}, 5),
        ({"answer": "winner"}, 1),
        ({"constraints": [{"metric": "parameters", "max": 100}]}, 1),
        ({"objective": {"others": [{"metric": "parameters"}]}}, 1),
    ],
)
def test_the_sweep_file_says_what_answers(
    more: dict[str, Any], count: int, mixed: SimulatedStudy, mixed_paths: StudyPaths
) -> None:
    study = swept(in_regression(mixed, mixed_paths, shared=0.5), **more)
    assert len(answering(study, mixed_paths)) == count


def test_without_dev_predictions_only_an_average_that_was_asked_for_answers(mixed: SimulatedStudy) -> None:
    assert len(answering(swept(mixed.study), None)) == 1
    asked = swept(mixed.study, answer="average")
    assert len(answering(asked, None)) == 5
    said = summarise(Analysis(asked, None)).answer
    assert "whose gain is not known" in said
    assert "go by it, as `answer: average` asks; " in said
    assert final_answer(replace(asked, records=(), finalists=()), None) is None


def test_a_test_of_an_average_is_outdated_once_one_of_its_trials_is_another(
    mixed: SimulatedStudy, mixed_paths: StudyPaths
) -> None:
    study = swept(in_regression(mixed, mixed_paths, shared=0.5))
    now = Analysis(study, mixed_paths).answering
    mean = {"trials": list(now), "value": 0.75, "interval": [0.7, 0.8]}
    test = {"value": 0.9, "interval": [0.85, 0.95], "trial": now[0], "at": "", "average": mean, "by_average": True}
    study = replace(study, facts={**study.facts, "tests": [test]})
    analysis = Analysis(study, mixed_paths)
    assert figure_of_test(test) == mean
    assert outdated_test(study, now) == ""
    said = on_test_and_dev(analysis, test)
    assert said is not None
    assert "That is what the dev set promised" in said.text
    assert any("rmse 0.75 (95 % interval 0.7 to 0.8), the mean of trials " in line for line in summarise(analysis).test)
    other = (*now[:-1], max(now) + 1)
    assert f"the test figure is that of the mean of trials {now[0]}, " in outdated_test(study, other)
    assert f"; the answer is now the mean of trials {now[0]}, " in outdated_test(study, other)
    assert f"the best is now trial {now[0]}, which was not tested" in outdated_test(study, now[:1])
    alone = {**test, "by_average": False}
    both = replace(study, facts={**study.facts, "tests": [alone, test]})
    assert current_test(both, now) == test
    assert current_test(both, now[:1]) == alone
