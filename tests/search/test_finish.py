"""Where a whole sweep takes seconds, the better half of its trials finish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.contracts.strategy_contract import CONTINUOUS, quality
from tests.search.test_priority import FastGame, sweep
from tuner.records import Direction, EpochResult, TrialRecord, TrialState
from tuner.search.registry import open_strategy
from tuner.search.strategy import Advance, Decision
from tuner.search.wrap.finish import CHEAP_SECONDS, FinishingStrategy


class Silent:
    """Wants nothing."""

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        return []

    def explain(self) -> tuple[str, ...]:
        return ()


def trial(number: int, value: float, *, state: TrialState = TrialState.PAUSED, seconds: float = 0.1) -> TrialRecord:
    result = EpochResult(
        epoch=2, train_loss=1.0, dev_loss=1.0, train_metric=value, dev_metric=value, learning_rate=0.1, seconds=seconds
    )
    return TrialRecord(number=number, params={}, seed=0, state=state, best=result, last=result)


def strategy(*, trials: int = 6, direction: Direction = Direction.MAXIMIZE) -> FinishingStrategy:
    return FinishingStrategy(Silent(), direction=direction, epochs=20, trials=trials)


TRIALS = [trial(n, value) for n, value in enumerate((0.5, 0.9, 0.7, 0.8, 0.6))]
DONE = trial(5, 0.95, state=TrialState.COMPLETE)


@pytest.mark.parametrize(("direction", "best"), [(Direction.MAXIMIZE, [1, 3]), (Direction.MINIMIZE, [0, 4])])
def test_the_best_of_the_paused_are_sent_on_until_half_have_finished(direction: Direction, best: list[int]) -> None:
    found = strategy(direction=direction)
    assert found.decide([*TRIALS, DONE], 8) == [Advance(trial=n, to_epoch=20) for n in best]
    assert found.explain() == (
        "2 of the paused trials are trained to their end, since that takes about 1.8 s: 3 of 6 will have finished",
    )
    assert found.explain() == ()
    assert found.decide([*TRIALS, DONE], 1) == [Advance(trial=best[0], to_epoch=20)]


def test_trials_that_break_a_constraint_are_sent_on_last() -> None:
    broken = replace(TRIALS[1], facts={"violation": 0.5})
    records = [TRIALS[0], broken, *TRIALS[2:], DONE]
    assert strategy().decide(records, 8) == [Advance(trial=n, to_epoch=20) for n in (3, 2)]


@pytest.mark.parametrize(
    "records",
    [
        [*TRIALS, replace(DONE, state=TrialState.RUNNING)],  # which may become one of the best
        [trial(n, 0.5 + 0.1 * n, state=TrialState.COMPLETE) for n in range(3)] + TRIALS[3:],
        [trial(n, 0.5, seconds=CHEAP_SECONDS / 6 / 3) for n in range(6)],
        [],
    ],
    ids=["while others train", "where half have finished", "where it would take minutes", "before the first trial"],
)
def test_nobody_is_sent_on(records: list[TrialRecord]) -> None:
    assert strategy().decide(records, 8) == []


def test_in_a_sweep_of_seconds_half_of_the_trials_finish() -> None:
    finished = []
    for is_inner in (True, False):
        made = open_strategy(sweep(trials=40), CONTINUOUS, Direction.MAXIMIZE)
        assert isinstance(made, FinishingStrategy)
        game = FastGame(quality, direction=Direction.MAXIMIZE)
        game.play(made.inner if is_inner else made, workers=2)
        finished.append(sum(record.state is TrialState.COMPLETE for record in game.records))
    assert finished[0] < 20 <= finished[1]
