"""Stopping rules, start configurations and the names of strategies."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import get_type_hints

import pytest
from pydantic import ValidationError

from tests.contracts.strategy_contract import CONTINUOUS, DISCRETE, EPOCHS, Game, quality
from tests.report.test_leaderboard import record
from tests.search.test_priority import sweep
from tuner.errors import SweepFileError
from tuner.records import Direction, TrialRecord, TrialState
from tuner.search.designs import grid
from tuner.search.observe import best_first, best_of, no_noise
from tuner.search.registry import maker_of, open_strategy
from tuner.search.request import Request
from tuner.search.rungs import priority_rungs, rungs_of
from tuner.search.strategy import Advance, Decision, Start, Strategy
from tuner.search.wrap.starts import start_configurations
from tuner.search.wrap.stop import StoppingStrategy, trials_since_improvement
from tuner.spec.known.strategies import PRUNERS, STRATEGIES
from tuner.spec.model import SearchSpec, StopSpec, SweepSpec
from tuner.spec.space import Space


def stopped(
    stop: StopSpec, *, noise: float = 0.0, seconds: Callable[[], float] = lambda: 0.0, **options: object
) -> tuple[Game, list[str]]:
    spec = sweep(trials=60)
    spec = spec.model_copy(
        update={"search": spec.search.model_copy(update={"strategy": options.get("strategy", "random"), "stop": stop})}
    )
    game = Game(options.get("curve", quality), direction=options.get("direction", Direction.MAXIMIZE))  # type: ignore[arg-type]
    strategy = open_strategy(spec, CONTINUOUS, game.direction, noise=lambda records: noise, elapsed_seconds=seconds)
    lines: list[str] = []
    while game.step(strategy, workers=2):
        lines += strategy.explain()
    return game, [*lines, *strategy.explain()]


UP_TO_NONE = Space(tuple(replace(d, low=0.0, scale="linear") if d.name == "weight_decay" else d for d in CONTINUOUS))


class TestStop:
    def test_a_target_that_is_reached(self) -> None:
        game, lines = stopped(StopSpec(target=0.75))
        reached = [record.number for record in game.records if (record.value or 0) >= 0.75]
        assert reached
        assert len(game.records) <= reached[0] + 3 < 60
        assert any("reached the target 0.75" in line for line in lines)

    def test_a_target_of_a_loss(self) -> None:
        game, _ = stopped(StopSpec(target=0.4), direction=Direction.MINIMIZE)
        assert min(record.value or 9 for record in game.records) <= 0.4
        assert len(game.records) < 60

    def test_running_trials_are_let_run_out(self) -> None:
        game, _ = stopped(StopSpec(target=0.1))
        assert len(game.records) == 2
        assert all(record.state in (TrialState.COMPLETE, TrialState.FAILED) for record in game.records)

    @pytest.mark.parametrize("direction", Direction)
    def test_the_best_trial_is_trained_to_its_end(self, direction: Direction) -> None:
        game, _ = stopped(StopSpec(epochs=2 * EPOCHS), direction=direction, strategy="priority")
        best = best_of(game.records, direction)
        assert best is not None
        assert best.state is TrialState.COMPLETE
        assert sum(record.epochs for record in game.records) <= 4 * EPOCHS

    def test_an_epoch_budget(self) -> None:
        game, _ = stopped(StopSpec(epochs=5 * EPOCHS))
        assert 5 * EPOCHS <= sum(record.epochs for record in game.records) <= 7 * EPOCHS

    def test_a_time_budget(self) -> None:
        clock = iter(range(100))
        game, lines = stopped(StopSpec(seconds=10), seconds=lambda: float(next(clock)))
        assert len(game.records) < 15
        assert any("10 seconds are spent" in line for line in lines)

    def test_a_plateau_within_noise(self) -> None:
        values = iter([0.5, 0.6] + [0.6 + 0.001 * k for k in range(1, 100)])
        seen: dict[float, float] = {}

        def curve(params: object, epoch: int) -> float:
            rate = params["learning_rate"]  # type: ignore[index]
            return seen[rate] if rate in seen else seen.setdefault(rate, next(values))

        game, lines = stopped(StopSpec(plateau=6), noise=0.05, curve=curve)
        assert 7 <= len(game.records) <= 10
        assert any("no improvement larger than the noise" in line for line in lines)

    def test_improvement_goes_on_without_noise(self) -> None:
        values = iter(0.001 * k for k in range(100))
        seen: dict[float, float] = {}

        def curve(params: object, epoch: int) -> float:
            rate = params["learning_rate"]  # type: ignore[index]
            return seen[rate] if rate in seen else seen.setdefault(rate, next(values))

        game, _ = stopped(StopSpec(plateau=6), noise=0.0, curve=curve)
        assert len(game.records) == 60

    def test_what_breaks_a_constraint_reaches_no_target_and_is_no_improvement(self) -> None:
        values = [(0.6, 0.0), (0.95, 1.0), (0.7, 0.0), (0.99, 0.5)]
        records = [replace(record(n, v), facts={"violation": over}) for n, (v, over) in enumerate(values)]
        assert [r.number for r in best_first(records, Direction.MAXIMIZE)] == [2, 0, 3, 1]
        assert trials_since_improvement(records, Direction.MAXIMIZE, noise=0.01) == 1
        assert trials_since_improvement(records[1::2], Direction.MAXIMIZE, noise=0.01) == 0
        assert trials_since_improvement([records[3], records[1]], Direction.MAXIMIZE, noise=0.01) == 1
        wrapped = StoppingStrategy(
            open_strategy(sweep(), CONTINUOUS, Direction.MAXIMIZE), StopSpec(target=0.9), direction=Direction.MAXIMIZE,
            epochs=EPOCHS, noise=no_noise, elapsed_seconds=lambda: 0.0,
        )  # fmt: skip
        wrapped.decide(records, 1)
        assert not wrapped.reason
        wrapped.decide([*records, record(4, 0.9)], 1)
        assert wrapped.reason == "trial 4 reached the target 0.9 with 0.9"


class TestNames:
    @pytest.mark.parametrize("name", STRATEGIES)
    def test_every_strategy_is_made_where_its_line_says(self, name: str) -> None:
        maker = maker_of(SearchSpec(strategy=name))
        assert maker.__module__ == STRATEGIES[name].module
        assert get_type_hints(maker) == {"request": Request, "return": tuple[Strategy, int]}
        spec = sweep()
        spec = spec.model_copy(update={"search": spec.search.model_copy(update={"strategy": name})})
        assert open_strategy(spec, CONTINUOUS, Direction.MAXIMIZE).decide([], 1)

    def test_start_configurations_outside_the_space_are_all_named(self) -> None:
        spec = sweep(start=[{"learning_rate": 5.0}, {"learning_rat": 0.1}])
        with pytest.raises(SweepFileError) as raised:
            open_strategy(spec, CONTINUOUS, Direction.MAXIMIZE)
        assert len(raised.value.problems) == 2

    def test_start_configurations_have_the_types_of_their_hyperparameters(self) -> None:
        (found,) = start_configurations([{"hidden_units": 64.0, "weight_decay": 0, "momentum": 0.5}], UP_TO_NONE)
        assert {name: type(value) for name, value in found.items()} == {
            "learning_rate": float, "momentum": float, "hidden_units": int, "weight_decay": float,
        }  # fmt: skip
        assert found["hidden_units"] == 64

    @pytest.mark.parametrize(("pruner", "first"), [(None, priority_rungs(EPOCHS)[0]), ("none", EPOCHS)])
    def test_the_priority_strategy_pauses_trials_itself_unless_a_pruner_is_named(
        self, pruner: str | None, first: int
    ) -> None:
        spec = sweep()
        spec = spec.model_copy(update={"search": spec.search.model_copy(update={"pruner": pruner})})
        (decision,) = open_strategy(spec, CONTINUOUS, Direction.MAXIMIZE).decide((), 1)
        assert isinstance(decision, Start)
        assert decision.to_epoch == first

    def test_refining_a_negative_number_of_times_is_refused(self) -> None:
        with pytest.raises(ValidationError):
            SweepSpec.model_validate({"study": "s", "data": {"source": "x"}, "search": {"refine": -1}})


class TestRungs:
    @pytest.mark.parametrize("epochs", [1, 2, 3, 5, 10, 27, 52, 100, 1000])
    def test_rungs_rise_to_the_full_training(self, epochs: int) -> None:
        for rungs in (priority_rungs(epochs), *(rungs_of(name, epochs=epochs) for name in PRUNERS)):
            assert rungs[-1] == epochs
            assert list(rungs) == sorted(set(rungs))
            assert rungs[0] >= 1

    def test_they_are_those_that_were_measured(self) -> None:
        assert priority_rungs(52) == (6, 17, 52)
        assert rungs_of("asha", epochs=52) == (4, 12, 36, 52)
        assert len(rungs_of("median", epochs=52)) == 10


def test_at_the_end_the_best_goes_on_only_when_no_other_may_still_pass_it() -> None:
    rule = StoppingStrategy(
        Never(), StopSpec(epochs=1), direction=Direction.MAXIMIZE, epochs=EPOCHS, noise=no_noise,
        elapsed_seconds=lambda: 0.0,
    )  # fmt: skip
    best, other = (replace(record(n, v), state=TrialState.PAUSED) for n, v in ((0, 0.9), (1, 0.5)))
    assert rule.decide((best, replace(other, state=TrialState.RUNNING)), 2) == []
    assert rule.decide((best, other), 2) == [Advance(trial=0, to_epoch=EPOCHS)]


class Never(Strategy):
    """Decides nothing."""

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        return []

    def explain(self) -> tuple[str, ...]:
        return ()


def test_a_grid_holds_every_choice_from_the_first_to_the_last() -> None:
    found = grid(DISCRETE, size=12, seed=0)
    wanted = set(itertools.product((32, 64, 128), (1, 2, 3, 4)))
    assert {(p["batch_size"], p["hidden_layers"]) for p in found} == wanted
    ends = {p["hidden_layers"] for p in grid(DISCRETE, size=6, seed=0)}
    assert ends >= {1, 4}
