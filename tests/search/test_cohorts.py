"""Searches that start trials by cohorts: groups that are alike in what would keep them apart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.contracts.strategy_contract import CONDITIONAL, EPOCHS, Game, Make, StrategyContract, quality
from tuner.records import Direction, Params, TrialState
from tuner.search.registry import open_strategy
from tuner.search.strategy import Advance, Cohorts, Start, Strategy
from tuner.spec.model import DataSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.spec.space import Space

SIZE = 5
LEARNED: list[Params] = [{"optimizer": "adam", "learning_rate": 0.002 * 2**n, "batch_size": 32} for n in range(6)]


def by_cohorts(
    space: Space, direction: Direction, *, trials: int, epochs: int, seed: int, learned: list[Params] | None = None
) -> Strategy:
    spec = SweepSpec(
        study="cohorts",
        data=DataSpec(source="sklearn/digits"),
        training=TrainingSpec(epochs=epochs),
        search=SearchSpec(trials=trials, seed=seed),
    )
    alike = frozenset({"batch_size", "optimizer"})
    return open_strategy(spec, space, direction, learned=learned or (), cohorts=Cohorts(SIZE, alike))


class TestByCohorts(StrategyContract):
    @pytest.fixture
    def make(self) -> Make:
        return by_cohorts


def played(strategy: Strategy, *, trials: int) -> list[list[Params]]:
    """The configurations of each cohort of a study on a device that asks when it has nothing to do."""
    game, cohorts = Game(quality, direction=Direction.MAXIMIZE), []
    while len(game.records) < trials:
        first = len(game.records)
        game.step(strategy, workers=SIZE)
        cohorts.append([record.params for record in game.records[first:]])
        for record in game.records[first:]:
            assert record.to_epoch == EPOCHS
            if game.records[record.number].state is TrialState.RUNNING:
                game.finish(record.number)
    return cohorts


@pytest.mark.slow
def test_a_cohort_is_alike_and_no_configuration_comes_twice() -> None:
    strategy = by_cohorts(CONDITIONAL, Direction.MAXIMIZE, trials=33, epochs=EPOCHS, seed=1)
    cohorts = played(strategy, trials=33)
    assert [len(cohort) for cohort in cohorts] == [SIZE] * 6 + [3]
    assert cohorts[0][0] == CONDITIONAL.default()
    shared = [{(params["batch_size"], params["optimizer"]) for params in cohort} for cohort in cohorts]
    assert all(len(values) == 1 for values in shared)
    assert len(set().union(*shared)) > 1  # the search does not keep to the batch size that it began with
    every = [tuple(sorted(params.items())) for cohort in cohorts for params in cohort]
    assert len(set(every)) == len(every)


@pytest.mark.slow
def test_it_finds_more_than_its_first_cohort_had() -> None:
    strategy = by_cohorts(CONDITIONAL, Direction.MAXIMIZE, trials=40, epochs=EPOCHS, seed=0)
    found = [
        max(quality(p, EPOCHS) for p in cohort if p["learning_rate"] < 0.5) for cohort in played(strategy, trials=40)
    ]
    assert max(found[1:]) > found[0]
    assert max(found) > 0.94 - 0.02


def test_what_was_learned_beforehand_leads_the_next_cohorts() -> None:
    strategy = by_cohorts(CONDITIONAL, Direction.MAXIMIZE, trials=33, epochs=EPOCHS, seed=1, learned=LEARNED)
    leaders = [cohort[0]["learning_rate"] for cohort in played(strategy, trials=30)]
    assert leaders[1:5] == [params["learning_rate"] for params in LEARNED[:4]]
    assert leaders[5] != LEARNED[4]["learning_rate"]


def test_what_a_killed_run_left_goes_on_first_and_nothing_that_was_paused_does() -> None:
    strategy = by_cohorts(CONDITIONAL, Direction.MAXIMIZE, trials=33, epochs=EPOCHS, seed=1)
    game = Game(quality, direction=Direction.MAXIMIZE)
    game.step(strategy, workers=SIZE)
    left = replace(game.records[1], state=TrialState.PAUSED, rungs=(), best=None)
    for record in list(game.records):
        if record.state is TrialState.RUNNING:
            game.finish(record.number)
    paused = replace(game.records[2], state=TrialState.PAUSED)
    game.records[1], game.records[2] = left, replace(paused, to_epoch=paused.epochs)
    first, *others = strategy.decide(tuple(game.records), SIZE)
    assert first == Advance(trial=1, to_epoch=EPOCHS)
    assert len(others) == SIZE - 1
    assert all(isinstance(decision, Start) for decision in others)


def test_it_says_what_it_does_once() -> None:
    strategy = by_cohorts(CONDITIONAL, Direction.MAXIMIZE, trials=33, epochs=EPOCHS, seed=1)
    assert strategy.explain() == (
        "the GPU is given 5 new trials at a time that are alike in optimizer, batch_size, which train as one, in full",
    )
    assert strategy.explain() == ()
