"""What a report says of trainings on parts of the training examples."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.report.simulate import SimulatedStudy, _accuracy, _predict, _record, simulate
from tuner.diagnose.more_data import MoreData
from tuner.paths import StudyPaths
from tuner.records import ON_A_PART, PART_METRIC, TrialRecord, TrialState
from tuner.report.analysis import Analysis
from tuner.report.more_data import more_data_in_words
from tuner.report.page.best import learning_curve_rows
from tuner.report.summary import summarise
from tuner.report.write import html_report

SHARES = (0.25, 0.5, 1.0)
NUM_DEV = 2000


def with_curve(
    paths: StudyPaths, accuracies: tuple[float, float, float], *, seeds: int = 3, of: int | None = None
) -> Analysis:
    """A study whose winner was trained on parts, with predictions on disk."""
    found: SimulatedStudy = simulate(trials=8, seed=3, num_dev=NUM_DEV)
    found.write_files(paths)
    draw = np.random.default_rng(5)
    ease, records = draw.standard_normal(NUM_DEV), []
    best = Analysis(found.study, paths).best
    assert best is not None
    for seed in range(1, seeds + 1):
        for share, accuracy in zip(SHARES, accuracies, strict=True):
            number = len(records)
            predictions = _predict(accuracy + 0.002 * draw.standard_normal(), ease, found.targets, 0.6, draw)
            paths.on_part(number).folder.mkdir(parents=True)
            np.save(paths.on_part(number).predictions, predictions)
            own = _record(number, best.params, _accuracy(predictions, found.targets), TrialState.COMPLETE)
            facts = {"repeat_of": best.number if of is None else of, "repeat": seed, "repeats": seeds}
            facts |= {"train_share": share, PART_METRIC: 1.0 - share / 10}
            records.append(replace(own, tier=ON_A_PART, facts=facts))
    return Analysis(replace(found.study, on_parts=tuple(records)), paths)


@pytest.fixture
def paths(tmp_path: object) -> StudyPaths:
    return StudyPaths(tmp_path / "simulated")  # type: ignore[operator]


def test_examples_that_have_helped_are_worth_more_of_them(paths: StudyPaths) -> None:
    analysis = with_curve(paths, (0.70, 0.78, 0.86))
    found = analysis.learning_curve
    assert found is not None
    assert found.answer is MoreData.HELPS
    num_train = analysis.study.facts["data"]["num_train"]
    assert [point.examples for point in found.points] == [round(share * num_train) for share in SHARES]
    assert all(point.interval is not None and point.mean in point.interval for point in found.points)
    assert [point.train for point in found.points] == pytest.approx([0.975, 0.95, 0.9])
    (line,) = more_data_in_words(analysis)
    assert line.startswith(f"More data would probably help: with {num_train:,} training examples in place of")
    assert line in summarise(analysis).certainty
    rows = list(learning_curve_rows(analysis))
    assert [row["share"] for row in rows] == ["25 %", "50 %", "100 %"]


def test_examples_that_bring_nothing_are_said_to_or_cannot_be_told(paths: StudyPaths) -> None:
    found = with_curve(paths, (0.80, 0.80, 0.80)).learning_curve
    assert found is not None
    assert found.answer is not MoreData.HELPS
    assert found.gain_interval is not None
    assert 0.0 in found.gain_interval


def test_one_seed_tells_nothing(paths: StudyPaths) -> None:
    (line,) = more_data_in_words(with_curve(paths, (0.70, 0.78, 0.86), seeds=1))
    assert line.startswith("Whether more data would help cannot be told from one seed: with")


@pytest.mark.slow
def test_the_page_and_the_json_show_it(paths: StudyPaths) -> None:
    analysis = with_curve(paths, (0.70, 0.78, 0.86))
    page = html_report(analysis)
    assert "Learning curve: on parts of the training examples" in page
    assert "would more data help?" in page
    assert json.loads(json.dumps(analysis.more))["learning_curve"]["more_data"] == "would probably help"


def test_a_curve_of_another_trial_than_the_best_says_so(paths: StudyPaths) -> None:
    last = list(more_data_in_words(with_curve(paths, (0.70, 0.78, 0.86), of=99)))[-1]
    assert last.startswith("The learning curve is trial 99's; the best is now trial ")


def test_trainings_that_failed_are_counted(paths: StudyPaths) -> None:
    analysis = with_curve(paths, (0.70, 0.78, 0.86))

    def failed(record: TrialRecord) -> TrialRecord:
        return replace(record, state=TrialState.FAILED, best=None, last=None)

    parts = analysis.study.on_parts
    broken = Analysis(replace(analysis.study, on_parts=(failed(parts[0]), *parts[1:])), paths)
    assert "1 training on a part of the training examples failed." in list(more_data_in_words(broken))
    none = Analysis(replace(analysis.study, on_parts=tuple(map(failed, parts))), paths)
    assert none.learning_curve is None
