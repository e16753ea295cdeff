"""The four steps of a report, in the course's order and words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.simulate import SimulatedStudy
from tuner.report.analysis import Analysis
from tuner.report.certainty.choice import final_choice
from tuner.report.verdict import four_steps_in_words
from tuner.store.study_data import StudyData

_DATA = {"num_train": 10_000, "num_dev": 10_000, "num_test": 10_000}


def _study(mixed: SimulatedStudy, *, train: float, dev: float, target: float | None, **data: object) -> StudyData:
    """Of one trial, with these accuracies."""
    choice = final_choice(replace(mixed.study, finalists=()))
    assert choice is not None
    assert choice.record.best is not None
    result = replace(choice.record.best, train_metric=train, dev_metric=dev)
    record = replace(choice.record, best=result, last=result)
    objective = {"metric": "accuracy", **({} if target is None else {"target_error": target})}
    facts = {"data": {**_DATA, **data}, "sweep": {"objective": objective}, "space": []}
    return replace(mixed.study, records=(record,), finalists=(), facts=facts)


def _steps(study: StudyData) -> list[str]:
    said = four_steps_in_words(Analysis(study, None))
    assert said.startswith("The four steps: fit the training set: ")
    return [step.partition(": ")[2] for step in said.removeprefix("The four steps: ").removesuffix(".").split("; ")]


@pytest.mark.parametrize(
    ("train", "dev", "target", "fits_train", "fits_dev"),
    [
        (0.80, 0.79, 0.01, "no (bias)", "yes"),
        (0.999, 0.80, 0.0, "yes", "no (variance)"),
        (0.80, 0.60, 0.01, "no (bias)", "no (variance)"),
        (0.80, 0.79, None, "not known without a target_error (bias or noise)", "yes"),
        (0.99, 0.99, 0.01, "yes", "yes"),
    ],
)
def test_each_of_the_courses_steps_is_said_to_be_taken_or_not(
    train: float, dev: float, target: float | None, fits_train: str, fits_dev: str, mixed: SimulatedStudy
) -> None:
    found = _steps(_study(mixed, train=train, dev=dev, target=target))
    assert found[:2] == [fits_train, fits_dev]
    assert found[2].startswith("not looked at")
    assert found[3] == "no figure here tells"


def test_few_examples_leave_a_step_untold(mixed: SimulatedStudy) -> None:
    study = _study(mixed, train=1.0, dev=0.95, target=0.0, num_train=30, num_dev=20)
    assert _steps(study)[1] == "cannot be told from noise"


@pytest.mark.parametrize(
    ("value", "trial", "said"),
    [
        (0.95, 0, "yes"),
        (0.70, 0, "no (worse than the dev set promised)"),
        (0.95, 1, "another trial was tested"),
    ],
)
def test_the_third_step_is_the_test_sets(value: float, trial: int, said: str, mixed: SimulatedStudy) -> None:
    study = _study(mixed, train=0.96, dev=0.95, target=0.04)
    number = study.records[0].number + trial
    tests = [{"value": value, "interval": [value - 0.01, value + 0.01], "trial": number, "at": ""}]
    assert _steps(replace(study, facts={**study.facts, "tests": tests}))[2] == said


def test_without_test_examples_there_is_no_third_step(mixed: SimulatedStudy) -> None:
    assert _steps(_study(mixed, train=0.96, dev=0.95, target=0.04, num_test=0))[2] == "there is no test set"
