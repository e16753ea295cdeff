"""Optuna's samplers and pruners, designs and staging, each held to the contract of strategies."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import pytest
from optuna.distributions import IntDistribution

from tests.contracts.strategy_contract import CONTINUOUS, EPOCHS, Game, Make, StrategyContract, quality
from tests.depth import but_deep
from tuner.records import Direction
from tuner.search import request
from tuner.search.optuna.space import distribution_of, from_optuna, to_optuna
from tuner.search.registry import open_strategy
from tuner.search.strategy import Start, Strategy
from tuner.spec.model import DataSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.spec.space import Dimension, Space


def maker(strategy: str, pruner: str | None = None) -> Make:
    def make(space: Space, direction: Direction, *, trials: int, epochs: int, seed: int) -> Strategy:
        spec = SweepSpec(
            study="contract",
            data=DataSpec(source="sklearn/digits"),
            training=TrainingSpec(epochs=epochs),
            search=SearchSpec(trials=trials, strategy=strategy, pruner=pruner, seed=seed),
        )
        return open_strategy(spec, space, direction)

    return make


@pytest.mark.parametrize(
    "make",
    [
        maker("random"),
        maker("random", "asha"),
        pytest.param(maker("tpe"), marks=pytest.mark.deep),
        maker("tpe", "median"),
        pytest.param(maker("tpe", "hyperband"), marks=pytest.mark.deep),
        pytest.param(maker("cmaes"), marks=pytest.mark.deep),
        pytest.param(maker("qmc", "asha"), marks=pytest.mark.deep),
    ],
    ids=["random", "random+asha", "tpe", "tpe+median", "tpe+hyperband", "cmaes", "qmc+asha"],
)
class TestStock(StrategyContract):
    pass


@pytest.mark.deep
class TestGaussianProcess(StrategyContract):
    trials = 13

    @pytest.fixture
    def make(self) -> Make:
        return maker("gp")


class TestGrid(StrategyContract):
    may_stop_early = True

    @pytest.fixture
    def make(self) -> Make:
        return maker("grid")


class TestStaged(StrategyContract):
    of_discrete = 6  # the default, the two other batch sizes, and with the best of them the three other depths

    @pytest.fixture
    def make(self) -> Make:
        return maker("staged")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", but_deep(["tpe", "gp"], "gp"))
def test_optunas_samplers_learn_from_earlier_trials(strategy: str) -> None:
    spec = SweepSpec(
        study="later",
        data=DataSpec(source="sklearn/digits"),
        training=TrainingSpec(epochs=EPOCHS),
        search=SearchSpec(trials=8, strategy=strategy, seed=1),
    )
    before = Game(quality, direction=Direction.MAXIMIZE)
    before.play(maker("random")(CONTINUOUS, Direction.MAXIMIZE, trials=40, epochs=EPOCHS, seed=0))
    means = []
    for earlier in ((), before.records):
        game = Game(quality, direction=Direction.MAXIMIZE)
        game.play(open_strategy(spec, CONTINUOUS, Direction.MAXIMIZE, earlier=earlier))
        assert len(game.records) == 8
        means.append(fmean(record.value or 0.0 for record in game.records))
    assert means[1] > means[0] + 0.05


def test_a_short_search_of_cheap_trials_is_not_asked_for_all_at_once() -> None:
    strategy = "tpe"
    games = {name: Game(quality, direction=Direction.MAXIMIZE) for name in (strategy, "random")}
    for name, game in games.items():
        game.play(maker(name)(CONTINUOUS, Direction.MAXIMIZE, trials=16, epochs=EPOCHS, seed=0), workers=16)
        assert len(game.records) == 16
    at_once = [sum(isinstance(d, Start) for d in decisions) for decisions in games[strategy].decisions]
    assert max(at_once) == 4
    of_model = [r.params for r in games[strategy].records][9:]  # four of the first ones may still be under way
    assert all(params not in [r.params for r in games["random"].records] for params in of_model)


def test_a_round_of_an_optuna_sampler_learns_from_the_rounds_before(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    mirror = request.StudyMirror

    def watched(*args: Any, earlier: Any, **options: Any) -> object:
        told.append(len(earlier))
        return mirror(*args, earlier=earlier, **options)

    monkeypatch.setattr(request, "StudyMirror", watched)
    spec = SweepSpec(
        study="rounds",
        data=DataSpec(source="sklearn/digits"),
        training=TrainingSpec(epochs=EPOCHS),
        search=SearchSpec(trials=24, strategy="tpe", refine=1),
    )
    game = Game(quality, direction=Direction.MAXIMIZE)
    game.play(open_strategy(spec, CONTINUOUS, Direction.MAXIMIZE))
    assert told[0] == 0
    assert 5 <= told[1] <= 12


def test_choices_in_order_and_whole_numbers_are_whole_numbers_to_a_sampler() -> None:
    kind: Any = "".join(["cate", "gorical"])  # as a study's database gives it
    batch = Dimension(name="batch_size", kind=kind, tier=1, default=64, choices=(32, 64, 128))
    layers = Dimension(name="hidden_layers", kind="int", tier=1, default=2, low=1, high=4)
    units = Dimension(name="hidden_units", kind="int", tier=1, default=64, low=8, high=256, scale="log")
    assert distribution_of(batch) == IntDistribution(0, 2)
    assert distribution_of(layers) == IntDistribution(1, 4)
    assert distribution_of(units) == IntDistribution(8, 256, log=True)
    for value in batch.choices:
        assert from_optuna(batch, to_optuna(batch, value)) == value
