"""The same search again, whatever the number and the speed of the workers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.contracts.strategy_contract import CONTINUOUS, EPOCHS, Game, quality
from tests.depth import but_deep
from tuner.records import Direction, EpochResult, TrialRecord, TrialState
from tuner.search.registry import open_strategy
from tuner.search.strategy import Strategy
from tuner.spec.model import DataSpec, SearchSpec, SweepSpec, TrainingSpec

TRIALS, TOGETHER = 16, 4


class Paced(Game):
    """Epochs take so many seconds, by the clock of another machine each time."""

    def __init__(self, *, seconds: float, seed: int) -> None:
        super().__init__(quality, seed=seed, direction=Direction.MAXIMIZE)
        self._seconds = seconds

    def _result(self, record: TrialRecord, epoch: int) -> EpochResult:
        return replace(super()._result(record, epoch), seconds=self._seconds * epoch)


def strategy(name: str, *, synchronous: int | None = TOGETHER) -> Strategy:
    spec = SweepSpec(
        study="s",
        data=DataSpec(source="x.csv"),
        training=TrainingSpec(epochs=EPOCHS),
        search=SearchSpec(trials=TRIALS, strategy=name, synchronous=synchronous),
    )
    return open_strategy(spec, CONTINUOUS, Direction.MAXIMIZE)


def played(name: str, *, seconds: float, seed: int, kill_after: int | None = None) -> Game:
    """Ended in an order of its own (`seed`), at a speed of its own, and by a new process after so many endings."""
    game, sought = Paced(seconds=seconds, seed=seed), strategy(name)
    for step in range(10_000):
        if step == kill_after:
            sought = strategy(name)
        if not game.step(sought, workers=TOGETHER):
            return game
    raise AssertionError("the search does not end")


def outcome(game: Game) -> list[tuple[object, ...]]:
    return [(r.params, r.tier, r.state, r.epochs, r.rungs) for r in game.records]


@pytest.mark.slow
@pytest.mark.parametrize("name", but_deep(("priority", "tpe", "random", "staged"), "tpe", "random", "staged"))
def test_neither_the_order_of_endings_nor_the_clock_changes_the_search(name: str) -> None:
    one = played(name, seconds=1e-6, seed=0)
    other = played(name, seconds=10.0, seed=1, kill_after=13)
    assert len(one.records) == TRIALS
    assert outcome(one) == outcome(other)


def test_nothing_is_decided_while_a_trial_trains_and_as_many_at_once_whatever_the_room() -> None:
    game, sought = Paced(seconds=1.0, seed=0), strategy("random")
    made = sought.decide((), 1)
    assert len(made) == TOGETHER
    game.step(sought, workers=TOGETHER)
    assert sum(record.state is TrialState.RUNNING for record in game.records) == TOGETHER - 1
    assert sought.decide(tuple(game.records), TOGETHER) == []


@pytest.mark.slow
def test_without_it_the_clock_does_change_the_search() -> None:
    games = [Paced(seconds=seconds, seed=0) for seconds in (1e-6, 10.0)]
    for game in games:
        game.play(strategy("priority", synchronous=None), workers=1)
    assert outcome(games[0]) != outcome(games[1])
