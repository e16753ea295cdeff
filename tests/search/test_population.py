"""Population-based training: who goes on from whom, with which values, and that nothing else decides it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.strategy_contract import CONTINUOUS, DISCRETE, EPOCHS, Game, Make, StrategyContract, quality
from tests.depth import at_depth
from tests.search.test_stock_strategies import maker
from tuner.records import Direction, Params, TrialState
from tuner.search.population import PopulationStrategy, may_change
from tuner.search.strategy import Copy, Start
from tuner.spec.model import PopulationSpec
from tuner.spec.space import Dimension, Space

RATE = Space((Dimension(name="learning_rate", kind="float", tier=1, default=0.1, low=1e-3, high=1.0, scale="log"),))
BOTH = Space((*RATE, Dimension(name="hidden_units", kind="int", tier=2, default=64, low=8, high=256, scale="log")))


class TestPopulation(StrategyContract):
    @pytest.fixture
    def make(self) -> Make:
        return maker("population")


def population(
    space: Space = RATE, *, trials: int = 8, epochs: int = 20, seed: int = 0, **rule: Any
) -> PopulationStrategy:
    return PopulationStrategy(
        space, PopulationSpec(**rule), direction=Direction.MAXIMIZE, epochs=epochs, trials=trials, seed=seed
    )


def best_at_low_rates(params: Params, epoch: int) -> float:
    return epoch / 100 - float(params["learning_rate"])


def play(strategy: PopulationStrategy, *, workers: int = 3, epochs: int = 20, seed: int = 0) -> Game:
    game = Game(best_at_low_rates, epochs=epochs, seed=seed, direction=Direction.MAXIMIZE)
    game.play(strategy, workers=workers)
    return game


def copies_of(game: Game) -> list[list[Copy]]:
    found = [[d for d in made if isinstance(d, Copy)] for made in game.decisions]
    return [copies for copies in found if copies]


def test_the_lower_quarter_goes_on_from_the_upper_one_at_every_interval() -> None:
    game = play(population(interval=5, resample=0))
    assert [len(copies) for copies in copies_of(game)] == [2, 2, 2]
    assert all(record.state is TrialState.COMPLETE and record.epochs == 20 for record in game.records)
    first = copies_of(game)[0]
    begun = sorted(
        (d for made in game.decisions for d in made if isinstance(d, Start)), key=lambda d: d.params["learning_rate"]
    )
    rates = [float(d.params["learning_rate"]) for d in begun]
    sources = [float(copy.params["learning_rate"]) for copy in first]
    allowed = [pytest.approx(rate * factor) for rate in rates[:2] for factor in (0.8, 1.2)]
    assert all(max(1e-3, rate) in allowed or rate == 1e-3 for rate in sources)


def test_nobody_goes_beyond_an_epoch_before_all_have_come_to_it() -> None:
    game = Game(best_at_low_rates, epochs=20, seed=1, direction=Direction.MAXIMIZE)
    strategy = population(interval=5)
    while game.step(strategy, workers=3):
        epochs = [r.epochs for r in game.records]
        sent = max(r.to_epoch for r in game.records)
        assert sent <= 5 or min(epochs) >= sent - 5


def test_a_copy_takes_the_network_over_and_changes_what_may_change() -> None:
    game = play(population(BOTH, interval=5))
    for copies in copies_of(game):
        for copy in copies:
            before = game.records[copy.source].phases or ()
            assert copy.params["hidden_units"] in {r.params["hidden_units"] for r in game.records}, before
    for record in game.records:
        units = {phase.params["hidden_units"] for phase in record.phases}
        assert len(units) <= 1, "the network of a lineage is one"
        assert not record.phases or record.phases[-1].params == record.params
        assert [p.from_epoch for p in record.phases] == sorted({p.from_epoch for p in record.phases})


def test_a_member_that_is_as_good_as_the_best_keeps_what_it_has() -> None:
    game = Game(lambda params, epoch: 0.5, epochs=20, direction=Direction.MAXIMIZE)
    game.play(population(interval=5), workers=3)
    assert not copies_of(game)
    assert all(record.state is TrialState.COMPLETE for record in game.records)


def test_where_it_stands_counts_and_not_where_it_was_best() -> None:
    def falls(params: Params, epoch: int) -> float:
        return 0.9 - epoch / 10 if float(params["learning_rate"]) > 0.1 else 0.5

    game = Game(falls, epochs=20, direction=Direction.MAXIMIZE)
    game.play(population(interval=5), workers=8)
    (first, *_) = copies_of(game)
    at_first = {n: d.params for n, d in enumerate(d for made in game.decisions for d in made if isinstance(d, Start))}
    assert all(float(at_first[copy.source]["learning_rate"]) <= 0.1 for copy in first)


def test_what_failed_is_left_behind_and_the_others_go_on() -> None:
    game = Game(quality, epochs=EPOCHS, direction=Direction.MAXIMIZE)
    game.play(
        PopulationStrategy(
            CONTINUOUS, PopulationSpec(), direction=Direction.MAXIMIZE, epochs=EPOCHS, trials=12, seed=1
        ),
        workers=4,
    )
    states = {record.state for record in game.records}
    assert states == {TrialState.FAILED, TrialState.COMPLETE}
    assert len(game.records) == 12


def test_one_that_is_tried_again_comes_to_where_the_others_are() -> None:
    game = play(population(interval=5))
    late = game.records[0]
    assert late.last is not None
    game.records[0] = replace(late, state=TrialState.PAUSED, last=replace(late.last, epoch=5), to_epoch=5, rungs=())
    game.play(population(interval=5))
    assert game.records[0].state is TrialState.COMPLETE
    assert len(game.records) == 8


def test_nothing_is_begun_once_the_others_have_learnt() -> None:
    game = play(population(interval=5))
    game.play(population(interval=5, trials=12), workers=3)
    assert len(game.records) == 8


def test_what_it_says() -> None:
    strategy = population(BOTH, interval=5)
    game = Game(best_at_low_rates, epochs=20, direction=Direction.MAXIMIZE)
    game.play(strategy, workers=8)
    first, *others = strategy.explain()
    assert first == (
        "a population of 8: learning_rate may change every 5 epochs; "
        "chosen once, and taken over with the network: hidden_units"
    )
    assert [line.split(",")[0] for line in others] == ["after 5 epochs", "after 10 epochs", "after 15 epochs"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("learning_rate", True), ("weight_decay", True), ("hidden_units", False), ("mine", False), ("lr_decay", False)],
)
def test_what_may_change(name: str, expected: bool) -> None:
    assert may_change(Dimension(name=name, kind="float", tier=1, default=0.1, low=0.01, high=1.0)) is expected


def test_a_value_stays_in_its_range_on_its_grid_and_off_where_it_is_off() -> None:
    space = Space(
        (
            Dimension(name="dropout", kind="float", tier=4, default=0.0, low=0.0, high=0.0),
            Dimension(name="weight_decay", kind="categorical", tier=4, default=0.0, choices=(0.0, 1e-4, 1e-3)),
            Dimension(name="momentum", kind="float", tier=2, default=0.9, low=0.5, high=0.99, scale="log1m"),
            Dimension(name="beta2", kind="float", tier=2, default=0.9, low=0.5, high=0.9, step=0.1),
        )
    )
    game = Game(lambda p, epoch: float(p["momentum"]) * epoch, epochs=40, direction=Direction.MAXIMIZE)
    game.play(population(space, trials=12, epochs=40, interval=2), workers=4)
    for copies in copies_of(game):
        for copy in copies:
            assert space.contains(copy.params)
    for record in game.records:
        decays = {phase.params["weight_decay"] for phase in record.phases}
        assert 0.0 not in decays or decays == {0.0}


def test_a_discrete_space_without_what_may_change_is_only_begun() -> None:
    game = Game(quality, epochs=EPOCHS, direction=Direction.MAXIMIZE)
    game.play(population(DISCRETE, trials=14, epochs=EPOCHS), workers=2)
    assert not copies_of(game)
    assert len(game.records) == 12


@pytest.mark.slow
@settings(max_examples=at_depth(24), deadline=None)
@given(
    trials=st.integers(1, 9),
    epochs=st.integers(1, 12),
    interval=st.integers(1, 5),
    workers=st.integers(1, 10),
    quantile=st.floats(0.05, 0.5),
    chance=st.integers(0, 2**16),
)
def test_whatever_ends_when_the_totals_are_exact_and_the_same_is_decided(
    trials: int, epochs: int, interval: int, workers: int, quantile: float, chance: int
) -> None:
    """The order in which jobs end, and how many run at once, change nothing in the end; nor does a kill."""

    def made() -> PopulationStrategy:
        return population(BOTH, trials=trials, epochs=epochs, interval=interval, quantile=quantile)

    def curve(params: Params, epoch: int) -> float:
        return random.Random(repr((sorted(params.items()), epoch))).random()

    games = [Game(curve, epochs=epochs, seed=order, direction=Direction.MAXIMIZE) for order in (chance, chance + 1)]
    games[0].play(made(), workers=workers)
    while games[1].step(made(), workers=1):
        pass
    assert [replace(r, rungs=()) for r in games[0].records] == [replace(r, rungs=()) for r in games[1].records]
    for game in games:
        assert len(game.records) == trials
        assert sum(record.epochs for record in game.records) == trials * epochs
        assert all(record.state is TrialState.COMPLETE for record in game.records)
