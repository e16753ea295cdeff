from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.simulate import SimulatedStudy, simulate
from tests.report.test_leaderboard import record, study
from tuner.paths import StudyPaths
from tuner.records import TrialState
from tuner.report.analysis import Analysis
from tuner.report.certainty.choice import final_choice
from tuner.report.certainty.tested import current_test
from tuner.report.summary import summarise
from tuner.report.verdict import _verdict_text
from tuner.store.study_data import StudyData


def text(data: StudyData, paths: StudyPaths | None = None) -> str:
    return "\n".join(summarise(Analysis(data, paths)).lines)


def test_the_summary_leads_with_the_best_and_names_one_next_step(
    mixed: SimulatedStudy, mixed_paths: StudyPaths
) -> None:
    lines = summarise(Analysis(mixed.study, mixed_paths)).lines
    assert lines[0].startswith("Best: trial ")
    assert sum(line.startswith("Next: ") for line in lines) == 1


@pytest.mark.slow
def test_both_the_searchs_score_and_that_of_fresh_seeds_stay_visible(
    mixed: SimulatedStudy, mixed_paths: StudyPaths
) -> None:
    said = text(mixed.study, mixed_paths)
    assert "probably overstates" in said
    assert "3 fresh seeds" in said
    assert "what fresh trainings of it reach" in said


def test_the_winners_luck_is_taken_off_before_the_verdict(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    analysis = Analysis(mixed.study, mixed_paths)
    assert analysis.best is not None
    assert analysis.best_parts is not None
    measured = analysis.parts[analysis.best.number]
    assert analysis.luck > 0
    assert analysis.best_parts.dev_error == measured.dev_error + analysis.luck


def test_that_there_was_no_luck_stays_possible(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    analysis = Analysis(mixed.study, mixed_paths)
    assert analysis.best is not None
    interval = analysis.statistics.intervals[analysis.best.number]
    vars(analysis)["luck"] = interval.half_width * 3  # more than other dev sets explain
    measured, honest = analysis.parts[analysis.best.number], analysis.best_parts
    assert honest is not None
    assert honest.dev_error == pytest.approx(measured.dev_error + analysis.luck)
    assert honest.variance_interval.low < measured.dev_error - measured.train_error


def test_where_the_search_has_ended_nothing_is_still_to_come() -> None:
    ended = replace(study(replace(record(0, 0.5), state=TrialState.FAILED)), facts={"search_end": "all 1 trials"})
    assert "No trial was trained to its end, of 1." in text(ended)


def test_a_study_with_no_finished_trial_says_so() -> None:
    running = replace(record(0, 0.5), state=TrialState.RUNNING)
    assert "No trial has finished yet (1 begun, 1 under way)." in text(study(running))
    assert "No trial has finished yet" in text(study())


def test_a_study_of_plain_optuna_is_summarised_as_far_as_it_goes() -> None:
    foreign = replace(simulate(trials=30, seed=0).study, metric="value", facts={}, space=None)
    said = text(foreign)
    assert "Best: trial" in said
    assert "there are no dev predictions" in said
    assert "bias" not in said.lower()


def test_failures_and_what_the_search_never_moved_are_told() -> None:
    study = simulate(trials=12, seed=0).study
    records = [replace(r, params={**r.params, "dropout": 0.0}) for r in study.records]
    for number in (2, 5):
        records[number] = replace(records[number], state=TrialState.FAILED, reason="error: ValueError: too wide")
    said = text(replace(study, records=tuple(records)))
    assert "2 of 12 trials failed, mostly: error." in said
    assert "Never moved by the search: dropout." in said


def test_every_use_of_the_test_set_is_shown_for_good(mixed: SimulatedStudy) -> None:
    use = {"value": 0.95, "interval": [0.93, 0.97], "trial": 3, "at": "2026-01-01T00:00:00+00:00"}
    once = replace(mixed.study, facts={**mixed.study.facts, "tests": [use]})
    assert "Test set: accuracy 0.9500 (95 % interval 0.9300 to 0.9700), trial 3, 2026-01-01 00:00:00 UTC." in text(once)
    twice = replace(mixed.study, facts={**mixed.study.facts, "tests": [use, use]})
    assert "use 2: " in text(twice)
    assert "used 2 times: only the first figure is unbiased" in text(twice)


def test_a_test_figure_of_another_trial_than_the_best_of_now_is_marked(mixed: SimulatedStudy) -> None:
    choice = final_choice(mixed.study)
    assert choice is not None
    best = choice.record.number
    for trials, marked in (((best,), False), ((best + 1,), True), ((best + 1, best), False), ((best, best + 1), False)):
        tests = [{"value": 0.9, "interval": [0.8, 0.95], "trial": trial, "at": ""} for trial in trials]
        study = replace(mixed.study, facts={**mixed.study.facts, "tests": tests})
        said = text(study)
        assert (f"The test figure is trial {best + 1}'s; the best is now trial {best}" in said) == marked
        assert (f"tuner test {study.name} --again." in said) == marked
        current = current_test(study, (best,))
        assert current is not None
        assert current["trial"] == (best + 1 if marked else best)


def test_each_note_of_the_data_is_one_warning(mixed: SimulatedStudy) -> None:
    notes = ["7 of 360 dev examples (1.9%) have the same inputs as a train example", "3 rows were dropped"]
    data = {**mixed.study.facts["data"], "dev_in_train": 7, "notes": notes}
    warnings = summarise(Analysis(replace(mixed.study, facts={**mixed.study.facts, "data": data}), None)).warnings
    assert warnings == tuple(notes)


@pytest.mark.slow
def test_facts_of_unexpected_shape_do_not_break_a_report() -> None:
    for facts in (
        {"data": 3},
        {"sweep": "text"},
        {"space": [{"odd": 1}]},
        {"tests": [1]},
        {"space": {}},
        {"data": None},
    ):
        assert "Best: trial" in text(replace(simulate(trials=12, seed=0).study, facts=facts))


def test_a_mismatch_is_told_with_its_three_parts(mixed: SimulatedStudy) -> None:
    choice = final_choice(mixed.study)
    assert choice is not None
    best = choice.record.best
    assert best is not None
    measured = replace(best, train_metric=0.99, dev_metric=0.7)
    records = [
        replace(r, best=measured, facts={**r.facts, "train_dev_metric": 0.96})
        if r.number == choice.record.number
        else r
        for r in mixed.study.records
    ]
    data = {**mixed.study.facts["data"], "num_train_dev": 300}
    study = replace(mixed.study, records=tuple(records), finalists=(), facts={**mixed.study.facts, "data": data})
    analysis = Analysis(study, None)
    parts = analysis.parts[choice.record.number]
    assert parts.verdict.value == "mismatch"
    said = _verdict_text(parts, luck=0.0)
    assert said.startswith(
        "Mostly a mismatch of train and dev 26.0 % (dev 30.0 % against held-out train 4.0 %); variance "
    )
