"""Scores by the groups that a sweep file names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.report.simulate import SimulatedStudy
from tuner.paths import StudyPaths
from tuner.report.analysis import Analysis
from tuner.report.certainty.groups import GroupScores, group_scores
from tuner.report.certainty.mistakes import Mistakes
from tuner.report.groups import groups_in_words
from tuner.report.page.best import mistake_tables
from tuner.report.summary import summarise


def scores(
    folder: Path, right: np.ndarray, group: np.ndarray, *, metric: str = "accuracy",
    examples: np.ndarray | None = None,
) -> GroupScores:  # fmt: skip
    """Of two classes, of which so many are told right."""
    paths = StudyPaths(folder)
    folder.mkdir(exist_ok=True)
    paths.dev_groups.write_text("region\n" + "".join(f"{name}\n" for name in group))
    targets = (np.arange(len(right)) % 2).astype(np.int64)
    yes = np.where(right, targets, 1 - targets) * 0.8 + 0.1
    found = group_scores(
        Mistakes(
            part="dev", trial=1, predictions=np.stack([1 - yes, yes], axis=1), targets=targets, names=("n", "y"),
            rows=None, images=None, examples=examples,
        ),
        paths,
        metric=metric,
    )  # fmt: skip
    assert found is not None
    return found


def test_a_group_that_is_worse_is_found_and_a_small_one_is_not_judged(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    group = np.array(["north"] * 200 + ["south"] * 200 + ["east"] * 10)
    right = draw.random(410) < np.where(group == "north", 0.7, 0.95)
    table = scores(tmp_path / "s", right, group).table().set_index("group")
    assert table.loc["north", "accuracy"] == pytest.approx(right[:200].mean())
    assert table.loc["north", "ci_low"] < right[:200].mean() < table.loc["north", "ci_high"]
    assert table["remark"].to_dict() == {"east": "too few examples", "north": "worse than the others", "south": ""}
    assert np.isnan(table.loc["east", "accuracy"])
    assert table["examples"].to_dict() == {"east": 10, "north": 200, "south": 200}


@pytest.mark.deep
@pytest.mark.slow
def test_without_a_difference_one_is_found_in_few_of_100_dev_sets(tmp_path: Path) -> None:
    found = 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        group = draw.choice(["a", "b", "c", "d"], 240)
        found += any(one.is_worse for one in scores(tmp_path / "s", draw.random(240) < 0.9, group).groups)
    assert found <= 10


def test_groups_of_numbers_come_in_their_order(tmp_path: Path) -> None:
    group = np.array(["above 20", "up to 3", "above 3 up to 20", "(no value)"] * 20)
    found = scores(tmp_path / "s", np.arange(80) % 5 > 0, group).groups
    assert [one.group for one in found] == ["up to 3", "above 3 up to 20", "above 20", "(no value)"]


def test_a_group_without_one_of_the_classes_has_no_auroc(tmp_path: Path) -> None:
    group = np.array(["even", "odd"] * 40)  # which are the classes
    table = scores(tmp_path / "s", np.arange(80) % 5 > 0, group, metric="auroc").table()
    assert table["auroc"].isna().all()


def test_a_metric_of_the_users_is_stood_in_for_by_the_loss(tmp_path: Path) -> None:
    assert scores(tmp_path / "s", np.arange(80) % 5 > 0, np.array(["a", "b"] * 40), metric="own").metric == "loss"


def test_the_report_says_it_and_damaged_files_are_none(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> None:
    analysis = Analysis(mixed.study, mixed_paths)
    best = analysis.best
    assert best is not None
    wrong = mixed.predictions[best.number].argmax(axis=1) != mixed.targets
    mixed_paths.dev_groups.write_text("region\nnorth\n")
    assert analysis.groups == ()  # of another dev set
    draw = np.random.default_rng(0)
    names = np.where(wrong | (draw.random(len(wrong)) < 0.1), "hard", "easy")
    mixed_paths.dev_groups.write_text("region\n" + "".join(f"{name}\n" for name in names))
    analysis = replace(analysis)
    (line,) = groups_in_words(analysis, part="dev")
    assert line.startswith('By region, dev accuracy is worse than elsewhere, by more than chance, in "hard" (0.')
    assert line in summarise(analysis).certainty
    assert next(iter(mistake_tables(analysis)))["title"].startswith("Scores by group: trial")


def test_with_repeated_folds_an_example_counts_once(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    right = draw.random(60) < 0.8
    group = np.where(np.arange(60) < 12, "few", "many")
    once = scores(tmp_path / "once", right, group).groups
    often = scores(
        tmp_path / "often", np.tile(right, 3), np.tile(group, 3), examples=np.tile(np.arange(60), 3)
    ).groups  # fmt: skip
    assert [one.examples for one in often] == [12, 48]
    assert often[0].value is None
    assert often[1].value == once[1].value
    assert often[1].interval == once[1].interval
