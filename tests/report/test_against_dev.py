"""A test figure is set beside what the dev set promised."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.report.simulate import SimulatedStudy
from tuner.diagnose.intervals import Interval
from tuner.records import Direction
from tuner.report.analysis import Analysis
from tuner.report.certainty.against_dev import against_dev
from tuner.report.certainty.choice import final_choice
from tuner.report.summary import summarise


@pytest.mark.parametrize(
    ("value", "luck", "said"),
    [
        (0.93, 0.0, "That is what the dev set promised: 0.9370 (95 % interval 0.9170 to 0.9570)"),
        (0.527, 0.0, "That is worse by 41.0 points than the dev set promised"),
        (0.99, 0.0, "That is better by 5.3 points than the dev set promised"),
        (0.90, 0.0, "That is worse by 3.7 points than the dev set promised"),
        (0.90, 0.02, "That is what the dev set promised: 0.9170, its luck taken off (95 % interval 0.8970 to 0.9370)"),
    ],
)
def test_what_lies_within_the_noise_of_both_sets_was_promised(
    value: float, luck: float, said: str, mixed: SimulatedStudy
) -> None:
    test = {"value": value, "interval": [value - 0.02, value + 0.02], "trial": 0}
    dev = Interval(0.917, 0.957)
    found = against_dev(mixed.study, test, dev_value=0.937, dev_interval=dev, luck=luck)
    assert found is not None
    assert found.text.startswith(said)
    assert found.is_worse == said.startswith("That is worse")


def test_of_an_error_the_larger_value_is_the_worse(mixed: SimulatedStudy) -> None:
    study = replace(mixed.study, metric="rmse", direction=Direction.MINIMIZE)
    test = {"value": 9.0, "interval": [8.5, 9.5], "trial": 0}
    found = against_dev(study, test, dev_value=5.0, dev_interval=Interval(4.5, 5.5), luck=0.5)
    assert found is not None
    assert found.text.startswith("That is worse by 3.5 than the dev set promised, 5.5, its luck taken off")


def test_the_inputs_say_why_where_they_can_be_told_apart(mixed: SimulatedStudy) -> None:
    test = {"value": 0.5, "interval": [0.45, 0.55], "trial": 0}

    def said(*notes: str) -> str:
        study = replace(mixed.study, facts={**mixed.study.facts, "data": {"num_dev": 200, "notes": list(notes)}})
        found = against_dev(study, test, dev_value=0.9, dev_interval=Interval(0.86, 0.94), luck=0.0)
        assert found is not None
        return found.text

    assert "or the search has fitted the 200 dev examples" in said("3 rows were dropped")
    assert "as its inputs show, too" in said("a classifier tells test from dev examples with AUROC 0.90 (...)")


def test_a_report_says_it_below_the_figure(mixed: SimulatedStudy) -> None:
    choice = final_choice(mixed.study)
    assert choice is not None
    tests = [{"value": 0.2, "interval": [0.15, 0.25], "trial": choice.record.number, "at": ""}]
    analysis = Analysis(replace(mixed.study, facts={**mixed.study.facts, "tests": tests}), None)
    first, second = summarise(analysis).test
    assert first.startswith("Test set: accuracy 0.2000")
    assert second.startswith("That is worse by ")
