"""Strategies that search under changing trade-offs, and under constraints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.contracts.strategy_contract import CONTINUOUS, Game, Make, StrategyContract
from tests.depth import but_deep
from tuner.records import Direction, EpochResult, Params, TrialRecord, TrialState
from tuner.search.registry import open_strategy
from tuner.search.strategy import Advance, Decision, Strategy
from tuner.search.wrap.scalarised import ScalarisedStrategy, scalarised
from tuner.spec.model import SweepSpec
from tuner.spec.objectives import Objective, direction_of, further_objectives, losses_of, pareto_front
from tuner.spec.space import Space

PARAMETERS = Objective("parameters", Direction.MINIMIZE)


def sweep(strategy: str, *, trials: int, epochs: int, seed: int = 0, **blocks: Any) -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "study": "s",
            "data": {"source": "sklearn/digits"},
            "training": {"epochs": epochs},
            "search": {"trials": trials, "strategy": strategy, "seed": seed},
            **blocks,
        }
    )


TWO = [{"metric": "accuracy"}, {"metric": "parameters"}]


def maker(strategy: str, **blocks: Any) -> Make:
    def make(space: Space, direction: Direction, *, trials: int, epochs: int, seed: int) -> Strategy:
        return open_strategy(sweep(strategy, trials=trials, epochs=epochs, seed=seed, **blocks), space, direction)

    return make


@pytest.mark.deep
class TestSeveralObjectives(StrategyContract):
    trials = 13

    @pytest.fixture
    def make(self) -> Make:
        return maker("priority", objective=TWO)


def record(number: int, value: float | None, *, parameters: float = 100, violation: float = 0.0) -> TrialRecord:
    result = None
    if value is not None:
        result = EpochResult(
            epoch=3, train_loss=0.1, dev_loss=0.2, train_metric=value + 0.01, dev_metric=value, learning_rate=0.1,
            seconds=1,
        )  # fmt: skip
    return TrialRecord(
        number=number, params={}, seed=0, state=TrialState.PAUSED, best=result, last=result,
        rungs=((3, value),) if value is not None else (),
        facts={"objectives": {"parameters": parameters}, "violation": violation},
    )  # fmt: skip


def order(records: list[TrialRecord], weights: list[float]) -> list[int]:
    seen = scalarised(records, np.array(weights), direction=Direction.MAXIMIZE, others=[PARAMETERS])
    return [r.number for r in sorted(seen, key=lambda r: -(r.value or 0.0))]


def test_each_trade_off_prefers_its_own_end_of_the_front() -> None:
    small, middle, large = (
        record(0, 0.80, parameters=1e2),
        record(1, 0.9, parameters=1e3),
        record(2, 0.93, parameters=1e5),
    )
    dominated = record(3, 0.85, parameters=2e3)
    trials = [small, middle, large, dominated]
    assert order(trials, [1.0, 0.0])[0] == 2
    assert order(trials, [0.0, 1.0])[0] == 0
    assert order(trials, [0.5, 0.5])[0] == 1
    for weight in np.linspace(0.05, 0.95, 10):
        ranked = order(trials, [weight, 1 - weight])
        assert ranked.index(1) < ranked.index(3)


def test_the_gap_to_training_and_the_shape_of_the_record_stay() -> None:
    before = [record(0, 0.9), record(1, 0.5, parameters=10), record(2, None)]
    after = scalarised(before, np.array([0.3, 0.7]), direction=Direction.MAXIMIZE, others=[PARAMETERS])
    for old, new in zip(before, after, strict=True):
        assert (new.number, new.state, len(new.rungs)) == (old.number, old.state, len(old.rungs))
        if old.best is not None and new.best is not None:
            assert new.best.train_metric - new.best.dev_metric == pytest.approx(0.01)
    assert after[2] == before[2]


def test_a_constraint_leaves_those_that_keep_it_alone_and_puts_the_others_below_them() -> None:
    before = [record(0, 0.6), record(1, 0.9, violation=0.1), record(2, 0.95, violation=2.0), record(3, 0.4)]
    after = scalarised(before, np.array([1.0]), direction=Direction.MAXIMIZE, others=[])
    assert (after[0], after[3]) == (before[0], before[3])
    values = [r.value or 0.0 for r in after]
    assert values[0] > values[3] > values[1] > values[2]


class WithCosts(Game):
    """Larger networks are better and cost more."""

    def finish(self, number: int) -> None:
        super().finish(number)
        done = self.records[number]
        size = float(done.params["hidden_units"]) ** 2
        self.records[number] = replace(done, facts={**done.facts, "objectives": {"parameters": size}})


@pytest.mark.parametrize("measured", [True, False])
def test_of_networks_that_were_not_trained_those_nearest_to_the_bound_look_best(measured: bool) -> None:
    reason = "infeasible: parameters is 900, which breaks max: 100"
    untrained = [
        replace(record(n, None, violation=v), state=TrialState.FAILED, reason=reason, to_epoch=3)
        for n, v in enumerate((2.0, 0.5, 9.0))
    ]
    records = [*untrained, record(3, 0.8), record(4, 0.6)] if measured else untrained
    seen = scalarised(records, np.array([1.0]), direction=Direction.MAXIMIZE, others=())
    values = [r.value for r in seen]
    assert None not in values
    assert sorted(range(len(values)), key=lambda n: -(values[n] or 0.0)) == [*((3, 4) if measured else ()), 1, 0, 2]
    assert all(seen[n].state is TrialState.PRUNED and seen[n].seconds == 0 for n in range(3))


class OneAdvance(Strategy):
    """Sends the first trial on, once in all its copies' life."""

    def __init__(self, asked: list[int], *, at: int) -> None:
        self.asked, self.at = asked, at

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        self.asked.append(room)
        return [Advance(trial=0, to_epoch=9)] if len(self.asked) == self.at else []

    def explain(self) -> tuple[str, ...]:
        return ()


@pytest.mark.parametrize(("at", "looks"), [(1, 1), (3, 3), (0, 8)])
def test_the_first_trade_off_that_leaves_something_to_do_decides_and_eight_without_end_the_search(
    at: int, looks: int
) -> None:
    asked: list[int] = []
    strategy = ScalarisedStrategy(
        lambda: OneAdvance(asked, at=at), direction=Direction.MAXIMIZE, others=[PARAMETERS], seed=0
    )
    assert strategy.decide([record(0, 0.9)], 1) == ([Advance(trial=0, to_epoch=9)] if at else [])
    assert len(asked) == looks


def accuracy(params: Params, epoch: int) -> float:
    """Saturates with the size; the learning rate has an optimum."""
    size, rate = float(params["hidden_units"]), float(params["learning_rate"])
    return float(0.95 - 0.6 * np.exp(-size / 40) - 0.05 * np.log10(rate / 0.03) ** 2) * (1 - 0.5 / (1 + epoch))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", but_deep(["priority", "tpe"], "tpe"))
def test_the_front_is_covered_from_small_to_large(strategy: str) -> None:
    spec = sweep(strategy, trials=40, epochs=9, objective=TWO)
    game = WithCosts(accuracy, epochs=9, direction=Direction.MAXIMIZE)
    game.play(open_strategy(spec, CONTINUOUS, Direction.MAXIMIZE), workers=2)
    finished = [r for r in game.records if r.state is TrialState.COMPLETE]
    front = pareto_front(finished, direction=Direction.MAXIMIZE, others=further_objectives(spec))
    sizes = sorted(float(r.params["hidden_units"]) for r in front)
    assert len(front) >= 5
    assert sizes[0] < 30
    assert sizes[-1] > 90


def test_a_front_holds_what_nothing_dominates_and_no_constraint_excludes() -> None:
    trials = [
        record(0, 0.9, parameters=10), record(1, 0.8, parameters=5), record(2, 0.8, parameters=10),
        record(3, 0.99, parameters=1, violation=0.5), record(4, None),
    ]  # fmt: skip
    front = pareto_front(trials, direction=Direction.MAXIMIZE, others=[PARAMETERS])
    assert [r.number for r in front] == [0, 1]
    assert losses_of(trials[4], direction=Direction.MAXIMIZE, others=[PARAMETERS]) is None
    assert direction_of("rmse") is direction_of("flops") is Direction.MINIMIZE
