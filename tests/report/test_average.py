"""The mean of the best trials' predictions beside the winner's alone: what it gains, and where that is not told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.report.simulate import SimulatedStudy
from tuner.paths import StudyPaths
from tuner.records import Direction, TrialState
from tuner.report.analysis import Analysis
from tuner.report.certainty.average import average_as_tested, average_gain
from tuner.report.certainty.choice import best_few, final_choice
from tuner.report.summary import summarise
from tuner.report.techniques import average_on_test, techniques_in_words
from tuner.store.study_data import StudyData


def in_regression(mixed: SimulatedStudy, paths: StudyPaths, *, shared: float) -> StudyData:
    """A study by RMSE whose trials err by a shared part, of that variance, and by a part of their own."""
    random = np.random.default_rng(0)
    truth = random.normal(size=(400, 1))
    ours = random.normal(size=truth.shape) * np.sqrt(shared)
    np.save(paths.dev_targets, truth)
    records = []
    for record in mixed.study.records:
        own = random.normal(size=truth.shape) * np.sqrt(1 - shared)
        np.save(paths.trial(record.number).predictions, truth + ours + own)
        value = float(np.sqrt(np.mean((ours + own) ** 2)))
        assert record.best is not None or record.state is not TrialState.COMPLETE
        best = None if record.best is None else replace(record.best, dev_metric=value)
        records.append(replace(record, best=best))
    return replace(mixed.study, records=tuple(records), finalists=(), metric="rmse", direction=Direction.MINIMIZE)


def test_independent_errors_average_out(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    study = in_regression(mixed, mixed_paths, shared=0.5)
    analysis = Analysis(study, mixed_paths)
    found = analysis.average_gain
    assert found is not None
    assert found.trials == tuple(record.number for record in analysis.statistics.ranked[:5])
    assert found.usual == analysis.statistics.ranked[0].value
    assert found.value == pytest.approx(np.sqrt(0.5 + 0.5 / 5), rel=0.1)
    assert found.gain.low > 0
    # Chosen by other examples than score it, the winner has lost its luck, and the average leads it by more.
    assert found.chosen_apart is not None
    assert found.chosen_apart > found.usual - found.value
    assert found.chosen_apart == pytest.approx(1 - np.sqrt(0.6), rel=0.25)
    text = next(iter(techniques_in_words(analysis)))
    assert (
        f"trials {', '.join(map(str, found.trials[:4]))} and {found.trials[4]} has dev rmse {found.value:.4g}" in text
    )
    assert ": it gains; to predict by it: --average 5." in text


def test_trials_that_err_alike_gain_nothing_that_can_be_told(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    study = in_regression(mixed, mixed_paths, shared=0.9999)
    text = next(iter(techniques_in_words(Analysis(study, mixed_paths))))
    assert ": whether it gains cannot be told; to predict by it: --average " in text


def test_without_predictions_or_others_there_is_no_average(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    study, ranked = mixed.study, Analysis(mixed.study, None).statistics.ranked
    assert Analysis(study, None).average_gain is None
    assert average_gain(study, mixed_paths, ranked[:1], ranked) is None
    mixed_paths.trial(ranked[1].number).predictions.unlink()
    assert average_gain(study, mixed_paths, ranked[:2], ranked) is None
    alone = average_gain(study, mixed_paths, [ranked[0], ranked[2]], [ranked[0], ranked[2]])
    assert alone is not None
    assert alone.trials == (ranked[0].number, ranked[2].number)


def test_the_winner_comes_first_and_what_breaks_a_constraint_is_left_out(mixed: SimulatedStudy) -> None:
    choice = final_choice(mixed.study)
    assert choice is not None
    found = best_few(mixed.study, 5)
    assert found[0] == choice.record
    assert len({record.number for record in found}) == len(found) == 5
    second = found[1].number
    records = [
        replace(r, facts={**r.facts, "violation": 0.5}) if r.number == second else r for r in mixed.study.records
    ]
    assert second not in {record.number for record in best_few(replace(mixed.study, records=tuple(records)), 5)}
    assert best_few(replace(mixed.study, records=(), finalists=()), 5) == ()


@pytest.mark.slow
def test_an_average_on_the_test_set_is_told_beside_the_winner(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    trials = [record.number for record in best_few(mixed.study, 3)]
    mixed_paths.test.mkdir()
    np.save(mixed_paths.tested("targets"), mixed.targets)
    np.save(mixed_paths.tested("predictions"), mixed.predictions[trials[0]])
    np.save(mixed_paths.tested("average"), sum(mixed.predictions[number] for number in trials) / 3)
    usual = float((mixed.predictions[trials[0]].argmax(axis=1) == mixed.targets).mean())
    test = {"trial": trials[0], "value": usual, "interval": [usual, usual], "at": "2026-01-01T00:00:00+00:00"}
    asked = {**test, "average": {"trials": trials, "value": 1.0, "interval": [1.0, 1.0]}}
    study = replace(mixed.study, facts={**mixed.study.facts, "tests": [asked]})
    (text,) = average_on_test(Analysis(study, mixed_paths))
    assert f"of trials {trials[0]}, {trials[1]} and {trials[2]} has accuracy " in text
    assert f"against {usual:.4f} of trial {trials[0]} alone" in text
    assert text in summarise(Analysis(study, mixed_paths)).test
    for average in (None, 3, {"trials": 3}):
        facts = {**mixed.study.facts, "tests": [{**test, "average": average}]}
        assert average_as_tested(replace(mixed.study, facts=facts), mixed_paths) is None
