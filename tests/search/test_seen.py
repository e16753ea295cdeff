"""What the default strategy looks at where there are more trials than its model can hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import tuner.search.priority.explorer as explorer_module
import tuner.search.priority.seen as seen_module
from tests.contracts.strategy_contract import CONTINUOUS, EPOCHS, Game, quality
from tests.report.test_leaderboard import record
from tests.search.test_priority import maker
from tuner.records import Direction, TrialState
from tuner.search.cube import Cube
from tuner.search.priority.response import Response
from tuner.search.priority.seen import MOST_SEEN, Points, seen
from tuner.trials import Trials


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen_module, "MOST_SEEN", 24)
    monkeypatch.setattr(seen_module, "_QUARTER", 6)


def test_all_are_looked_at_while_they_are_not_too_many() -> None:
    trials = Trials([record(n, 0.5) for n in range(MOST_SEEN)])
    assert seen(trials, direction=Direction.MAXIMIZE, others=()) == list(range(MOST_SEEN))


@pytest.mark.usefixtures("few")
def test_of_many_the_best_are_looked_at_those_that_run_and_some_of_everywhere() -> None:
    trials = Trials([record(n, (n * 37 % 400) / 400) for n in range(400)])
    trials.put(record(400, None, state=TrialState.RUNNING))
    found = seen(trials, direction=Direction.MAXIMIZE, others=(3,))
    best = sorted(range(400), key=lambda n: -(n * 37 % 400))[:12]
    assert {*best, 3, 400} <= set(found)
    assert found == sorted(found)
    assert len(found) <= 12 + 6 + 2
    assert np.histogram(found, bins=4, range=(0, 400))[0].min() >= 2


@pytest.mark.usefixtures("few")
def test_the_best_of_very_many_paused_trials_are_considered() -> None:
    trials = Trials([record(n, n / 100, state=TrialState.PAUSED) for n in range(100)])
    assert [r.number for r in seen_module.paused(trials, Direction.MAXIMIZE)] == [94, 95, 96, 97, 98, 99]


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_a_long_search_goes_on_well_with_a_model_of_few(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Measured(Response):
        def __init__(self, observations, cube, **others) -> None:  # type: ignore[no-untyped-def]
            sizes.append(len(observations.y))
            super().__init__(observations, cube, **others)

    monkeypatch.setattr(explorer_module, "Response", Measured)
    game = Game(quality, direction=Direction.MAXIMIZE, live=True)
    game.play(maker("priority")(CONTINUOUS, Direction.MAXIMIZE, trials=80, epochs=EPOCHS, seed=0), workers=3)
    assert len(game.records) == 80
    assert max(sizes) <= 3 * (12 + 6 + 6 + 6)  # three rungs of each at most
    assert max(r.value or 0 for r in game.records) > 0.88
    keys = [tuple(sorted(r.params.items())) for r in game.records]
    assert len(set(keys)) == len(keys)


def test_points_follow_trials_that_are_taken_back_and_made_anew() -> None:
    cube = Cube(CONTINUOUS)
    points = Points(cube)
    trials = Trials([replace(record(n, None), params=CONTINUOUS.default()) for n in range(3)])
    assert points.of(trials).shape == (3, cube.columns)
    trials.cut(2)
    assert points.of(trials).shape == (2, cube.columns)
    other = CONTINUOUS.from_units([0.1] * len(CONTINUOUS))
    for number in range(2, 200):
        trials.put(replace(record(number, None), params=other))
    assert np.array_equal(points.of(trials)[2], cube.units(other))
    assert np.array_equal(points.of(trials), [cube.units(r.params) for r in trials])
