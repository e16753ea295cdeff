"""Optuna's samplers and pruners, designs and staging, each held to the contract of strategies."""

from __future__ import annotations

import pytest

from tests.contracts.strategy_contract import Make, StrategyContract
from tuner.records import Direction
from tuner.search.registry import open_strategy
from tuner.search.strategy import Strategy
from tuner.spec.model import DataSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.spec.space import Space


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
        maker("tpe"),
        maker("tpe", "median"),
        maker("tpe", "hyperband"),
        maker("cmaes"),
        maker("qmc", "asha"),
    ],
    ids=["random", "random+asha", "tpe", "tpe+median", "tpe+hyperband", "cmaes", "qmc+asha"],
)
class TestStock(StrategyContract):
    pass


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
    @pytest.fixture
    def make(self) -> Make:
        return maker("staged")
