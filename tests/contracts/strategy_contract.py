"""What every strategy must do; a strategy's tests subclass `StrategyContract` and provide `strategy`.

`Game` plays a strategy against a made-up objective: it keeps the records as a store would and lets jobs end in a
shuffled order, as several workers would.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tests.depth import but_deep
from tuner.records import (
    Direction,
    EpochResult,
    FailureReason,
    Params,
    TrialRecord,
    TrialState,
)
from tuner.search.strategy import Advance, Copy, Decision, Start, Stop, Strategy
from tuner.spec.space import Dimension, Space
from tuner.store.folding import copied
from tuner.trials import Trials

EPOCHS = 27

CONTINUOUS = Space(
    (
        Dimension(name="learning_rate", kind="float", tier=1, default=0.01, low=1e-4, high=1.0, scale="log"),
        Dimension(name="momentum", kind="float", tier=2, default=0.9, low=0.1, high=0.99, scale="log1m"),
        Dimension(name="hidden_units", kind="int", tier=2, default=64, low=8, high=256, scale="log"),
        Dimension(name="weight_decay", kind="float", tier=4, default=1e-4, low=1e-6, high=1e-1, scale="log"),
    )
)
CONDITIONAL = Space(
    (
        Dimension(name="optimizer", kind="categorical", tier=1, default="sgd", choices=("sgd", "adam")),
        Dimension(name="learning_rate", kind="float", tier=1, default=0.01, low=1e-4, high=1.0, scale="log"),
        Dimension(
            name="momentum",
            kind="float",
            tier=2,
            default=0.9,
            low=0.5,
            high=0.99,
            scale="log1m",
            when={"optimizer": ("sgd",)},
        ),
        Dimension(
            name="beta1",
            kind="float",
            tier=2,
            default=0.9,
            low=0.5,
            high=0.99,
            scale="log1m",
            when={"optimizer": ("adam",)},
        ),
        Dimension(name="batch_size", kind="categorical", tier=2, default=64, choices=(32, 64, 128, 256)),
        Dimension(name="fixed", kind="float", tier=3, default=0.5, low=0.5, high=0.5),
    )
)
DISCRETE = Space(
    (
        Dimension(name="batch_size", kind="categorical", tier=1, default=64, choices=(32, 64, 128)),
        Dimension(name="hidden_layers", kind="int", tier=2, default=2, low=1, high=4),
    )
)
SPACES = {"continuous": CONTINUOUS, "conditional": CONDITIONAL, "discrete": DISCRETE}

Curve = Callable[[Params, int], float]
"""The dev metric of a configuration after so many epochs; NaN for divergence."""
Make = Callable[..., Strategy]
"""`make(space, direction, trials=..., epochs=..., seed=...)`."""


def quality(params: Params, epoch: int) -> float:
    """A smooth accuracy with an optimum inside the space; high learning rates diverge."""
    rate = math.log10(float(params.get("learning_rate", 0.03)))
    if rate > -0.3:
        return math.nan
    size = float(params.get("hidden_units", 64)) / 256 + float(params.get("hidden_layers", 2)) / 8
    batch = abs(math.log2(float(params.get("batch_size", 64))) - 5) / 20
    final = 0.95 - 0.08 * (rate + 1.5) ** 2 - 0.1 * (size - 0.6) ** 2 - batch
    return final * (1 - math.exp(-4 * epoch / EPOCHS))


DECISIONS = [("continuous", 1), ("conditional", 4), ("continuous", 4), ("conditional", 1)]


class Game:
    """One study, played move by move."""

    def __init__(
        self, curve: Curve, *, epochs: int = EPOCHS, seed: int = 0, direction: Direction, live: bool = False
    ) -> None:
        """`live`: the strategy is given one object, as by a store, which follows the records."""
        self._live = Trials() if live else None
        self.curve = curve
        self.epochs = epochs
        self.direction = direction
        self.records: list[TrialRecord] = []
        self.decisions: list[list[Decision]] = []
        self._random = random.Random(seed)
        self._at_the_time: tuple[TrialRecord, ...] = ()

    def step(self, strategy: Strategy, *, workers: int) -> bool:
        """One call of `decide` and the end of one job; False once the search is over."""
        running = [r.number for r in self.records if r.state is TrialState.RUNNING]
        made = strategy.decide(self._shown(), workers - len(running))
        assert sum(not isinstance(d, Stop | Copy) for d in made) <= workers - len(running), "more jobs than room"
        self.decisions.append(made)
        self._at_the_time = tuple(self.records)
        for decision in sorted(made, key=lambda decision: not isinstance(decision, Copy)):
            self._take(decision)
        running = [r.number for r in self.records if r.state is TrialState.RUNNING]
        if not running:
            return bool(made)
        self.finish(self._random.choice(running))
        return True

    def _shown(self) -> Sequence[TrialRecord]:
        if self._live is None:
            return tuple(self.records)
        self._live.follow(self.records, since=None)
        return self._live

    def play(self, strategy: Strategy, *, workers: int = 1, steps: int = 10_000) -> None:
        """Play on until the search ends."""
        for _ in range(steps):
            if not self.step(strategy, workers=workers):
                return
        raise AssertionError("the search does not end")

    def finish(self, number: int) -> None:
        """The trial reaches the epoch that it was sent to, or diverges on the way."""
        record = self.records[number]
        results = [self._result(record, epoch) for epoch in range(record.epochs + 1, record.to_epoch + 1)]
        for result in results:
            if math.isnan(result.dev_metric):
                record = replace(record, state=TrialState.FAILED, reason=f"{FailureReason.DIVERGED}: loss is NaN")
                break
            best = record.best
            if best is None or self.direction.better(result.dev_metric, best.dev_metric):
                best = result
            record = replace(record, best=best, last=result)
        if record.state is TrialState.RUNNING:
            assert record.best is not None
            done = record.to_epoch >= self.epochs
            record = replace(
                record,
                rungs=(*record.rungs, (record.to_epoch, record.best.dev_metric)),
                state=TrialState.COMPLETE if done else TrialState.PAUSED,
                reason="all epochs" if done else "",
            )
        self.records[number] = record

    def _take(self, decision: Decision) -> None:
        match decision:
            case Start(params=params, to_epoch=to_epoch, tier=tier):
                assert 1 <= to_epoch <= self.epochs
                number = len(self.records)
                self.records.append(
                    TrialRecord(
                        number=number,
                        params=params,
                        seed=number,
                        state=TrialState.RUNNING,
                        tier=tier,
                        to_epoch=to_epoch,
                    )
                )
            case Advance(trial=trial, to_epoch=to_epoch):
                record = self.records[trial]
                assert record.state is TrialState.PAUSED, "only paused trials are advanced"
                assert record.epochs < to_epoch <= self.epochs, "an advance goes forward"
                self.records[trial] = replace(record, state=TrialState.RUNNING, to_epoch=to_epoch)
            case Stop(trial=trial, reason=reason):
                assert self.records[trial].state is TrialState.PAUSED, "only paused trials are given up"
                assert reason, "a trial that is given up is told why"
                self.records[trial] = replace(self.records[trial], state=TrialState.PRUNED, reason=reason)
            case Copy(trial=trial, source=source, params=params):
                self.records[trial] = copied(self.records[trial], self._at_the_time[source], params)

    def _result(self, record: TrialRecord, epoch: int) -> EpochResult:
        value = self.curve(record.params, epoch)
        if self.direction is Direction.MINIMIZE:
            value = 1 - value
        return EpochResult(
            epoch=epoch,
            train_loss=1.0,
            dev_loss=1.0,
            train_metric=value,
            dev_metric=value,
            learning_rate=0.1,
            seconds=1.0 * epoch,
        )


class StrategyContract:
    """Inherit, and give `make` as a fixture."""

    trials = 14
    of_discrete = 12
    """How many configurations of the space `DISCRETE` the strategy may try."""
    may_stop_early = False
    """Whether the strategy may leave trials of a space that is not exhausted unused."""

    @pytest.fixture
    def make(self) -> Make:
        """The strategy under test, by space and direction."""
        raise NotImplementedError

    def game(self, make: Make, space: Space, direction: Direction, workers: int) -> Game:
        game = Game(quality, direction=direction)
        game.play(make(space, direction, trials=self.trials, epochs=EPOCHS, seed=0), workers=workers)
        return game

    @pytest.mark.parametrize("workers", [1, 5])
    @pytest.mark.parametrize("space", SPACES)
    def test_every_trial_is_proposed_within_the_space_and_ends(self, make: Make, space: str, workers: int) -> None:
        game = self.game(make, SPACES[space], Direction.MAXIMIZE, workers)
        for record in game.records:
            assert SPACES[space].contains(record.params), record.params
            assert record.state is not TrialState.RUNNING

    @pytest.mark.parametrize("direction", Direction)
    def test_the_total_is_met_and_never_exceeded(self, make: Make, direction: Direction) -> None:
        game = self.game(make, CONTINUOUS, direction, 3)
        assert len(game.records) <= self.trials
        assert len(game.records) == self.trials or self.may_stop_early
        assert any(record.state is TrialState.COMPLETE for record in game.records)

    def test_no_configuration_is_tried_twice_in_a_discrete_space(self, make: Make) -> None:
        game = self.game(make, DISCRETE, Direction.MAXIMIZE, 2)
        seen = [tuple(sorted(record.params.items())) for record in game.records]
        assert len(set(seen)) == len(seen) == min(self.trials, self.of_discrete)

    @pytest.mark.parametrize(("space", "workers"), but_deep(DECISIONS, ("continuous", 4), ("conditional", 1)))
    def test_the_same_records_give_the_same_decisions(self, make: Make, space: str, workers: int) -> None:
        """A strategy made anew before every move (as after a kill) decides like one that followed it all."""
        unbroken, broken = (Game(quality, direction=Direction.MAXIMIZE, seed=1, live=live) for live in (True, False))
        strategy = make(SPACES[space], Direction.MAXIMIZE, trials=self.trials, epochs=EPOCHS, seed=3)
        going = True
        while going:
            going = unbroken.step(strategy, workers=workers)
            fresh = make(SPACES[space], Direction.MAXIMIZE, trials=self.trials, epochs=EPOCHS, seed=3)
            broken.step(fresh, workers=workers)
            assert broken.decisions[-1] == unbroken.decisions[-1]
            assert broken.records == unbroken.records

    def test_asking_twice_changes_nothing(self, make: Make) -> None:
        strategy = make(CONTINUOUS, Direction.MAXIMIZE, trials=self.trials, epochs=EPOCHS, seed=0)
        game = Game(quality, direction=Direction.MAXIMIZE)
        for _ in range(12):
            running = sum(r.state is TrialState.RUNNING for r in game.records)
            again = strategy.decide(tuple(game.records), 2 - running)
            going = game.step(strategy, workers=2)
            assert again == game.decisions[-1]
            if not going:
                break

    def test_seeds_differ(self, make: Make) -> None:
        games = [Game(quality, direction=Direction.MAXIMIZE) for _ in range(2)]
        for seed, game in enumerate(games):
            game.play(make(CONTINUOUS, Direction.MAXIMIZE, trials=self.trials, epochs=EPOCHS, seed=seed))
        assert [r.params for r in games[0].records] != [r.params for r in games[1].records]

    def test_a_batch_holds_different_configurations(self, make: Make) -> None:
        game = Game(quality, direction=Direction.MAXIMIZE)
        strategy = make(CONTINUOUS, Direction.MAXIMIZE, trials=40, epochs=EPOCHS, seed=0)
        for _ in range(60):
            if not game.step(strategy, workers=8):
                break
            params = [tuple(sorted(r.params.items())) for r in game.records]
            assert len(set(params)) == len(params)

    def test_it_goes_on_when_every_trial_fails(self, make: Make) -> None:
        game = Game(lambda params, epoch: math.nan, direction=Direction.MINIMIZE)
        game.play(make(CONTINUOUS, Direction.MINIMIZE, trials=self.trials, epochs=EPOCHS, seed=0), workers=3)
        assert len(game.records) <= self.trials
        assert all(record.state is TrialState.FAILED for record in game.records)

    def test_one_room_at_a_time_is_respected(self, make: Make) -> None:
        strategy = make(CONTINUOUS, Direction.MAXIMIZE, trials=self.trials, epochs=EPOCHS, seed=0)
        assert len([d for d in strategy.decide((), 1) if isinstance(d, Start)]) == 1
        assert not strategy.decide((), 0)

    def test_a_constant_objective_is_survived(self, make: Make) -> None:
        game = Game(lambda params, epoch: 0.5, direction=Direction.MAXIMIZE)
        game.play(make(CONTINUOUS, Direction.MAXIMIZE, trials=self.trials, epochs=EPOCHS, seed=0), workers=2)
        assert any(record.state is TrialState.COMPLETE for record in game.records)

    def test_an_interrupted_trial_is_sent_on(self, make: Make) -> None:
        """A PAUSED trial may stand between two rungs, after an interruption."""
        strategy = make(CONTINUOUS, Direction.MAXIMIZE, trials=1, epochs=EPOCHS, seed=0)
        game = Game(quality, direction=Direction.MAXIMIZE)
        (start,) = strategy.decide((), 1)
        game._take(start)
        game.records[0] = replace(game.records[0], to_epoch=1)
        game.finish(0)
        game.play(strategy)
        assert game.records[0].state is TrialState.COMPLETE
