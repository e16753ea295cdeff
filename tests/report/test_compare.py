from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.depth import at_depth
from tests.report.simulate import SimulatedStudy, simulate
from tuner.errors import UsageError
from tuner.paths import StudyPaths
from tuner.report.analysis import Analysis
from tuner.report.compare import Side, compare, side
from tuner.report.figures.comparison import comparison


def analysed(study: SimulatedStudy, folder: Path) -> Analysis:
    paths = StudyPaths(folder)
    study.write_files(paths)
    return Analysis(study.study, paths)


@pytest.fixture
def one(mixed: SimulatedStudy, mixed_paths: StudyPaths) -> Analysis:
    return Analysis(mixed.study, mixed_paths)


@pytest.mark.slow
def test_trials_of_one_study_are_compared_on_the_same_examples(one: Analysis) -> None:
    ranked = one.statistics.ranked
    best, worst = (side(one, trial=r.number) for r in (ranked[0], ranked[-1]))
    found = compare(worst, best)
    assert "is better (on the same dev examples)" in found.verdict
    assert found.verdict.startswith(best.name)
    assert compare(best, worst).verdict.startswith(best.name)
    assert next(r for r in found.rows if r.quantity == "dev accuracy").difference.startswith("+")


@pytest.mark.slow
def test_a_trial_ties_with_itself(one: Analysis) -> None:
    same = side(one, trial=one.statistics.ranked[0].number)
    assert "cannot be told apart" in compare(same, same).verdict


@pytest.mark.slow
def test_paired_intervals_cover_the_true_difference(tmp_path: Path) -> None:
    covered = []
    for seed in range(at_depth(60)):
        study = simulate(trials=2, seed=seed, spread=0.1)
        analysis = analysed(study, tmp_path / str(seed))
        from tuner.report.compare import _difference

        difference, interval, how = _difference(side(analysis, trial=0), side(analysis, trial=1))
        assert how == "on the same dev examples"
        assert interval is not None
        assert difference in interval
        covered.append(study.truth[1] - study.truth[0] in interval)
    assert np.mean(covered) >= 0.9


@pytest.mark.slow
def test_studies_are_compared_at_equal_budgets(one: Analysis, tmp_path: Path) -> None:
    other = analysed(simulate(trials=15, seed=9, name="other"), tmp_path / "other")
    found = compare(side(one, trial=None), side(other, trial=None))
    quantities = [r.quantity for r in found.rows]
    assert "expected best of 15 finished trials" in quantities
    assert "best after 300 epochs" in quantities
    assert "two different dev sets" in found.verdict


def test_what_cannot_be_compared_is_refused(one: Analysis) -> None:
    with pytest.raises(UsageError, match="no trial 999"):
        side(one, trial=999)
    with pytest.raises(UsageError, match="no finished trial"):
        side(Analysis(replace(one.study, records=()), None), trial=None)
    other = Analysis(replace(one.study, metric="f1"), None)
    with pytest.raises(UsageError, match="scored by"):
        compare(side(one, trial=None), side(other, trial=None))


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"words", None])
def test_dev_targets_that_cannot_be_read_are_as_good_as_none(damage: bytes | None, tmp_path: Path) -> None:
    analyses = [analysed(simulate(trials=3, seed=seed), tmp_path / str(seed)) for seed in (0, 1)]
    for one in analyses:
        _ = one.statistics
    damaged = StudyPaths(tmp_path / "1").dev_targets
    damaged.unlink() if damage is None else damaged.write_bytes(damage)
    assert compare(*(side(one, trial=0) for one in analyses)).verdict


def test_without_files_the_sizes_of_the_dev_sets_serve(one: Analysis) -> None:
    bare = Analysis(one.study, None)
    found = compare(side(one, trial=None), side(bare, trial=None))
    assert "two different dev sets" in found.verdict


@pytest.mark.parametrize("trial", [None, 0])
def test_both_kinds_have_a_figure(one: Analysis, trial: int | None) -> None:
    chosen: Side = side(one, trial=trial)
    assert comparison(chosen, chosen).axes[0].get_lines()


@pytest.mark.parametrize(
    ("data", "sweep", "said"),
    [
        (
            {"sha256": "other", "num_train": 90},
            {"source": "b.csv"},
            "data.source: a.csv and b.csv; 100 and 90 train examples",
        ),
        ({"sha256": "other"}, {"source": "a.csv"}, "other rows, or other values in them"),
        ({"sha256": "same"}, {"source": "b.csv"}, ""),
        ({}, {"source": "b.csv"}, ""),  # of plain Optuna
    ],
)
def test_different_data_are_warned_of(data: dict[str, Any], sweep: dict[str, Any], said: str, one: Analysis) -> None:
    def of(data: dict[str, Any], sweep: dict[str, Any]) -> Side:
        return side(Analysis(replace(one.study, facts={"data": data, "sweep": {"data": sweep}}), one.paths), trial=None)

    before = of({"sha256": "same", "num_train": 100, "num_dev": 50}, {"source": "a.csv"})
    found = compare(before, of({"num_train": 100, "num_dev": 50, **data}, sweep))
    assert len(found.warnings) == bool(said)
    assert not said or f"are of different data ({said}): a difference" in found.warnings[0]
