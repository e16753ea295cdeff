"""Which files are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.sweep.test_finalists import record
from tuner.paths import StudyPaths, TrialPaths
from tuner.records import Direction, TrialState
from tuner.spec.objectives import Objective
from tuner.sweep.keeper import Keeper


def make_files(paths: TrialPaths) -> None:
    paths.folder.mkdir(parents=True)
    for path in (paths.checkpoint, paths.previous_checkpoint, paths.new_checkpoint, paths.weights, paths.curve):
        path.touch()
    (paths.folder / ".weights.pt.123.tmp").touch()


@pytest.mark.parametrize(("direction", "kept"), [(Direction.MAXIMIZE, [1, 3]), (Direction.MINIMIZE, [0, 2])])
@pytest.mark.parametrize("at_once", [True, False])
def test_keeps_the_weights_of_the_best_and_no_checkpoint_of_what_has_ended(
    tmp_path: Path, direction: Direction, kept: list[int], at_once: bool
) -> None:
    paths = StudyPaths(tmp_path)
    ended = [record(i, value) for i, value in enumerate((0.1, 0.9, 0.2, 0.8, 0.5))]
    ended.append(record(5, 0.99 if direction is Direction.MAXIMIZE else 0.0, TrialState.PRUNED))
    ended.append(record(6, None, TrialState.FAILED))
    for number in range(8):
        make_files(paths.trial(number))
    keeper = Keeper(paths.trial, direction=direction, keep=2)
    if at_once:
        keeper.tidy([*ended, record(7, 0.3, TrialState.PAUSED)])
    else:
        for one in ended:
            keeper.ended(one)
    assert [n for n in range(7) if paths.trial(n).weights.exists()] == kept
    assert [n for n in range(8) if paths.trial(n).checkpoint.exists()] == [7]
    assert [n for n in range(8) if paths.trial(n).previous_checkpoint.exists()] == [7]
    assert [n for n in range(8) if paths.trial(n).new_checkpoint.exists()] == [7]
    assert [n for n in range(8) if list(paths.trial(n).folder.glob(".*"))] == [7]
    assert all(paths.trial(n).curve.exists() for n in range(8))


def test_of_equals_the_earlier_is_kept(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    keeper = Keeper(paths.trial, direction=Direction.MAXIMIZE, keep=1)
    for number in range(3):
        make_files(paths.trial(number))
        keeper.ended(record(number, 0.5))
    assert [n for n in range(3) if paths.trial(n).weights.exists()] == [0]


def test_of_several_objectives_the_weights_of_the_whole_front_are_kept(tmp_path: Path) -> None:
    paths = StudyPaths(tmp_path)
    sizes = {0: 900.0, 1: 500.0, 2: 800.0, 3: 100.0}
    values = {0: 0.9, 1: 0.8, 2: 0.7, 3: 0.6}
    keeper = Keeper(
        paths.trial, direction=Direction.MAXIMIZE, keep=1, objectives=[Objective("parameters", Direction.MINIMIZE)]
    )
    for number, size in sizes.items():
        make_files(paths.trial(number))
        keeper.ended(replace(record(number, values[number]), facts={"objectives": {"parameters": size}}))
    assert [n for n in sizes if paths.trial(n).weights.exists()] == [0, 1, 3]
