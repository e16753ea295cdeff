"""Our own strategy, held to the contract of strategies and to what it promises beyond it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from tests.contracts.strategy_contract import CONTINUOUS, EPOCHS, Game, Make, StrategyContract, quality
from tests.search.test_stock_strategies import maker
from tuner.records import Direction, EpochResult, Params, ParamValue, TrialRecord, TrialState
from tuner.search.cube import Cube
from tuner.search.observe import no_noise
from tuner.search.priority.diagnosis import Diagnosis, diagnose, still_learns
from tuner.search.priority.explorer import Explorer
from tuner.search.priority.strategy import PriorityStrategy
from tuner.search.registry import open_strategy
from tuner.search.rungs import priority_rungs
from tuner.search.strategy import Advance, Strategy
from tuner.search.wrap.finish import FinishingStrategy
from tuner.spec.model import DataSpec, ObjectiveSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.spec.space import Space

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "make",
    [
        maker("priority"),
        pytest.param(maker("priority", "asha"), marks=pytest.mark.deep),
        pytest.param(maker("priority", "none"), marks=pytest.mark.deep),
    ],
    ids=["priority", "priority+asha", "priority+none"],
)
class TestPriority(StrategyContract):
    trials = 22


@pytest.mark.deep
class TestSeveralRounds(StrategyContract):
    trials = 24

    @pytest.fixture
    def make(self) -> Make:
        def make(space: Space, direction: Direction, *, trials: int, epochs: int, seed: int) -> Strategy:
            return open_strategy(sweep(trials=trials, epochs=epochs, seed=seed, refine=1), space, direction)

        return make


def sweep(
    *,
    trials: int = 30,
    epochs: int = EPOCHS,
    seed: int = 0,
    refine: int = 0,
    regularisation: str = "on_variance",
    start: list[dict[str, ParamValue]] | None = None,
) -> SweepSpec:
    return SweepSpec(
        study="s",
        data=DataSpec(source="x"),
        objective=ObjectiveSpec(target_error=0.01),
        training=TrainingSpec(epochs=epochs),
        search=SearchSpec.model_validate(
            {
                "trials": trials,
                "strategy": "priority",
                "seed": seed,
                "refine": refine,
                "regularisation": regularisation,
                "start": start or [],
            }
        ),
    )


def played(
    *,
    curve: object = quality,
    gap: float = 0.0,
    direction: Direction = Direction.MAXIMIZE,
    workers: int = 1,
    space: Space = CONTINUOUS,
    noise: float = 0.0,
    **options: object,
) -> tuple[Game, list[str]]:
    """A whole study; `gap` is how much better the training metric is than the dev metric."""
    game = GapGame(curve, direction=direction, gap=gap)  # type: ignore[arg-type]
    strategy = open_strategy(sweep(**options), space, direction, noise=lambda records: noise)  # type: ignore[arg-type]
    lines: list[str] = []
    while game.step(strategy, workers=workers):
        lines += strategy.explain()
    return game, [*lines, *strategy.explain()]


class GapGame(Game):
    def __init__(self, *args: object, gap: float, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.gap = gap

    def _result(self, record: TrialRecord, epoch: int) -> EpochResult:
        result = super()._result(record, epoch)
        sign = 1 if self.direction is Direction.MAXIMIZE else -1
        return replace(result, train_metric=result.dev_metric + sign * self.gap)


def labels(game: Game) -> list[str]:
    return [record.tier for record in game.records]


def test_the_opening_takes_the_tiers_in_order() -> None:
    game, lines = played()
    assert labels(game)[:8] == ["default", *["tier 1"] * 4, *["tier 2"] * 3]
    assert game.records[0].params == CONTINUOUS.default()
    for record in game.records[1:5]:
        changed = {name for name, value in CONTINUOUS.default().items() if record.params[name] != value}
        assert changed == {"learning_rate"}
    assert any(line.startswith("tier 1 opens") and "learning_rate" in line for line in lines)


def test_tier_two_is_explored_around_the_best_of_tier_one() -> None:
    game, _ = played()
    rate = max(game.records[:5], key=lambda r: r.rungs[0][1]).params["learning_rate"]
    assert [record.params["learning_rate"] for record in game.records[5:8]] == [rate] * 3


def test_the_opening_stays_at_the_lowest_rung_and_the_best_go_on() -> None:
    game = Game(quality, direction=Direction.MAXIMIZE)
    strategy = open_strategy(sweep(), CONTINUOUS, Direction.MAXIMIZE)
    low, middle, full = priority_rungs(EPOCHS)
    while len(game.records) < 8:
        game.step(strategy, workers=1)
    assert {record.to_epoch for record in game.records} == {low}
    for _ in range(4):
        game.step(strategy, workers=1)
    best = max(game.records[:8], key=lambda r: r.rungs[0][1])
    assert sum(record.epochs >= middle for record in game.records) == 3
    assert best.epochs == full


def test_it_beats_random_search_at_equal_epochs() -> None:
    best = quality({"learning_rate": 10**-1.5, "hidden_units": 90}, EPOCHS)

    def regret(strategy: str, seed: int) -> float:
        game = Game(quality, direction=Direction.MAXIMIZE)
        chosen = maker(strategy)(CONTINUOUS, Direction.MAXIMIZE, trials=1000, epochs=EPOCHS, seed=seed)
        while sum(record.epochs for record in game.records) < 8 * EPOCHS:
            game.step(chosen, workers=1)
        return best - max(r.value for r in game.records if r.value is not None)

    ours, chance = (np.mean([regret(name, seed) for seed in range(5)]) for name in ("priority", "random"))
    assert ours < 0.3 * chance


@pytest.mark.parametrize("direction", Direction)
def test_pausing_saves_epochs(direction: Direction) -> None:
    game, _ = played(trials=24, direction=direction)
    assert sum(record.epochs for record in game.records) < 0.75 * 24 * EPOCHS


def test_the_winner_is_trained_in_full() -> None:
    game, _ = played(trials=12)
    best = max(game.records, key=lambda record: record.value or 0.0)
    assert best.state is TrialState.COMPLETE


def test_variance_opens_regularisation_and_says_why() -> None:
    game, lines = played(gap=0.1, noise=0.01)
    opened = labels(game).index("regularisation")
    default = CONTINUOUS.default()["weight_decay"]
    assert {record.params["weight_decay"] for record in game.records[:opened]} == {default}
    assert labels(game).count("regularisation") == 3
    assert len({record.params["weight_decay"] for record in game.records[opened:]}) > 3
    assert any("regularisation opens" in line and "variance" in line for line in lines)


def test_without_variance_regularisation_stays_at_its_default() -> None:
    game, lines = played(gap=0.005, noise=0.01)
    assert {record.params["weight_decay"] for record in game.records} == {CONTINUOUS.default()["weight_decay"]}
    assert any("bias" in line and "hidden_units" in line for line in lines)


def measured(record: TrialRecord, train_metric: float) -> TrialRecord:
    """The trial with this training metric at its best and at its last epoch."""
    best, last = (None if r is None else replace(r, train_metric=train_metric) for r in (record.best, record.last))
    return replace(record, best=best, last=last)


@pytest.mark.deep
def test_a_trial_that_does_not_fit_its_training_set_is_sent_on_more_readily() -> None:
    """All that differs is what the trial that has just paused measured on the training set."""
    game = GapGame(quality, direction=Direction.MAXIMIZE, gap=1.0)
    strategy = open_strategy(sweep(), CONTINUOUS, Direction.MAXIMIZE)
    low = priority_rungs(EPOCHS)[0]
    sent_on = {0.6: 0, 1.0: 0}
    while game.step(strategy, workers=1):
        last = game.records[-1]
        if last.state is not TrialState.PAUSED or last.epochs > low or last.best is None:
            continue
        for train_metric in sent_on:
            trained = measured(last, train_metric)
            chooser = open_strategy(sweep(), CONTINUOUS, Direction.MAXIMIZE)
            (decision,) = chooser.decide((*game.records[:-1], trained), 1)
            sent_on[train_metric] += isinstance(decision, Advance) and decision.trial == last.number
    assert sent_on[0.6] > sent_on[1.0]


def test_variance_shows_before_a_full_training_and_bias_only_after_one() -> None:
    game = Game(quality, direction=Direction.MAXIMIZE)
    strategy = open_strategy(sweep(), CONTINUOUS, Direction.MAXIMIZE)
    seen: list[Diagnosis | None] = []
    while not any(record.state is TrialState.COMPLETE for record in game.records):
        game.step(strategy, workers=1)
        seen.append(diagnose(game.records, direction=Direction.MAXIMIZE, noise=0.0, target_error=0.0))
    assert seen[0] is None  # after the first rung all are still learning
    early, full = seen[-2], seen[-1]
    assert early is not None
    assert full is not None
    assert early.bias > 0.1
    assert not early.shows_bias
    assert full.shows_bias
    trained = [r if r.best is None else measured(r, 1.0) for r in game.records]
    paused = [replace(r, state=TrialState.PAUSED) for r in trained]
    found = diagnose(paused, direction=Direction.MAXIMIZE, noise=0.01, target_error=0.0)
    assert found is not None
    assert found.shows_variance


def test_regularisation_starts_lightly() -> None:
    game, _ = played(gap=0.1, noise=0.01)
    cube = Cube(CONTINUOUS)
    column = [d.name for d in cube.dimensions].index("weight_decay")
    away = [abs(cube.units(r.params) - cube.default)[column] for r in game.records if r.tier == "regularisation"]
    light = cube.default[column]
    assert 0 < max(away) <= max(light, 1 - light) / 2


def test_only_a_finite_training_error_above_noise_counts_as_still_learning() -> None:
    game, _ = played(gap=0.0, noise=0.01)
    record = next(r for r in game.records if r.best is not None)
    assert record.best is not None
    for train_metric, learns in ((0.9, True), (0.995, False), (1.0, False), (math.nan, False)):
        trained = measured(record, train_metric)
        assert still_learns(trained, direction=Direction.MAXIMIZE, noise=0.01, target_error=0.0) is learns
    assert not still_learns(
        replace(record, best=None, last=None), direction=Direction.MAXIMIZE, noise=0.01, target_error=0.0
    )
    assert not still_learns(record, direction=Direction.MAXIMIZE, noise=0.01, target_error=1.0)


def test_with_room_for_many_the_opening_is_awaited() -> None:
    game = Game(quality, direction=Direction.MAXIMIZE)
    strategy = open_strategy(sweep(trials=60), CONTINUOUS, Direction.MAXIMIZE)
    game.step(strategy, workers=32)
    assert {record.tier for record in game.records} == {"default", "tier 1", "tier 2"}
    for _ in range(len(game.records) // 2):
        game.step(strategy, workers=32)
    assert len(game.records) >= 32


def test_regularisation_always_opens_it_with_the_others() -> None:
    game, _ = played(regularisation="always")
    assert len({record.params["weight_decay"] for record in game.records[:12]}) > 2


@pytest.mark.deep
def test_diverging_configurations_are_avoided() -> None:
    def curve(params: Params, epoch: int) -> float:
        # The best is next to the cliff.
        rate = math.log10(float(params["learning_rate"]))
        return math.nan if rate > -1.2 else quality({**params, "learning_rate": 10 ** (rate - 0.4)}, epoch)

    game, _ = played(curve=curve, trials=60, workers=2)
    failed = sum(record.state is TrialState.FAILED for record in game.records)
    assert failed <= 15


def test_start_configurations_come_first_and_only_once() -> None:
    start: list[dict[str, ParamValue]] = [{"learning_rate": 0.05}, {"learning_rate": 0.05}, {"hidden_units": 32}]
    game, _ = played(start=start, trials=20)
    assert labels(game)[:3] == ["start", "start", "default"]
    assert [r.params["learning_rate"] for r in game.records].count(0.05) >= 1
    assert labels(game).count("start") == 2
    again = open_strategy(sweep(start=start, trials=25), CONTINUOUS, Direction.MAXIMIZE)
    while game.step(again, workers=1):
        pass
    assert labels(game).count("start") == 2
    assert len(game.records) == 25


def explorer(earlier: list[TrialRecord], *, target_error: float = 0.0) -> Explorer:
    return Explorer(
        CONTINUOUS,
        direction=Direction.MAXIMIZE,
        rungs=priority_rungs(EPOCHS),
        trials=20,
        seed=0,
        regularisation_always=True,
        noise=no_noise,
        target_error=target_error,
        earlier=earlier,
    )


def test_an_earlier_study_replaces_the_opening_and_is_not_repeated() -> None:
    earlier, _ = played(trials=30)
    game = Game(quality, direction=Direction.MAXIMIZE)
    game.play(PriorityStrategy(explorer(earlier.records)))
    assert set(labels(game)) == {"default", "all"}
    tried = [record.params for record in earlier.records]
    assert all(record.params not in tried for record in game.records)
    assert (game.records[1].value or 0) > 0.8 * max(record.value or 0 for record in earlier.records)


def test_cheap_trials_are_searched_without_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    import tuner.search.priority.explorer

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a model was fitted")

    monkeypatch.setattr(tuner.search.priority.explorer, "Response", refuse)
    game = FastGame(quality, direction=Direction.MAXIMIZE)
    strategy = maker("priority")(CONTINUOUS, Direction.MAXIMIZE, trials=80, epochs=EPOCHS, seed=0)
    game.play(strategy, workers=4)
    assert len(game.records) == 80
    complete = [record for record in game.records if record.state is TrialState.COMPLETE]
    assert 1 <= len(complete) < 60
    assert max(record.value or 0 for record in complete) > 0.88


class FastGame(Game):
    def _result(self, record: TrialRecord, epoch: int) -> EpochResult:
        return replace(super()._result(record, epoch), seconds=1e-5 * epoch)


def test_a_thousand_trials_are_not_thought_over_again_while_the_last_ones_run() -> None:
    game = Game(quality, direction=Direction.MAXIMIZE)
    strategy = maker("priority")(CONTINUOUS, Direction.MAXIMIZE, trials=12, epochs=EPOCHS, seed=0)
    while len(game.records) < 12 or any(r.state is TrialState.PAUSED for r in game.records):
        made = game.step(strategy, workers=6)
        if not made:
            break
    assert strategy.decide(tuple(game.records), 6) == []


def test_values_of_either_direction_give_the_same_search() -> None:
    up, _ = played(trials=25, direction=Direction.MAXIMIZE)
    down, _ = played(trials=25, direction=Direction.MINIMIZE)
    close: Mapping[str, object] = {}
    for a, b in zip(up.records[:12], down.records[:12], strict=True):
        close = {name: pytest.approx(value, rel=1e-6) for name, value in a.params.items()}
        assert b.params == close


@pytest.mark.parametrize("direction", Direction)
def test_without_a_model_those_are_sent_on_that_beat_most_of_what_reached_their_rung(direction: Direction) -> None:
    game = FastGame(quality, direction=direction)
    strategy = maker("priority")(CONTINUOUS, direction, trials=40, epochs=EPOCHS, seed=0)
    assert isinstance(strategy, FinishingStrategy)
    strategy = strategy.inner
    sent_on, going = 0, True
    while going:
        before = list(game.records)
        going = game.step(strategy, workers=1)
        for decision in game.decisions[-1]:
            if isinstance(decision, Advance):
                trial = before[decision.trial]
                (_, own) = trial.rungs[-1]
                reached = [value for record in before for epoch, value in record.rungs if epoch == trial.epochs]
                assert sum(direction.better(value, own) for value in reached) < len(reached) / 2
                sent_on += 1
    assert sent_on > 5
