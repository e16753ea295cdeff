"""The opening of the priority strategy, step by step."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tests.contracts.strategy_contract import CONTINUOUS, DISCRETE, EPOCHS
from tests.search.test_priority import explorer
from tuner.records import Direction, EpochResult, Params, TrialRecord, TrialState
from tuner.search.cube import Cube
from tuner.search.priority.opening import Opening, Wait
from tuner.search.priority.strategy import PriorityStrategy
from tuner.search.rungs import priority_rungs
from tuner.search.strategy import Advance, Start
from tuner.spec.space import Dimension, Space

LOW, MIDDLE, FULL = priority_rungs(EPOCHS)
DEPTH = Dimension(name="hidden_layers", kind="int", tier=3, default=2, low=1, high=9)


def opening(space: Space, *, trials: int = 40, with_regularisation: bool = False) -> Opening:
    return Opening(
        Cube(space),
        direction=Direction.MAXIMIZE,
        rungs=(LOW, MIDDLE, FULL),
        trials=trials,
        seed=0,
        with_regularisation=with_regularisation,
    )


def names_of(space: Space, made: Opening) -> dict[str, list[str]]:
    """The hyperparameters that each pass moves."""
    dimensions = Cube(space).dimensions
    return {step.label: [dimensions[j].name for j in step.columns] for step in made.passes}


def trial(
    number: int,
    value: float | None,
    *,
    epoch: int = LOW,
    to_epoch: int | None = None,
    params: Params | None = None,
    tier: str = "tier 1",
) -> TrialRecord:
    """One that waits at its rung, or one that runs where it has no value yet or more epochs to go."""
    last = None
    if value is not None:
        nan = math.nan
        last = EpochResult(
            epoch=epoch, train_loss=nan, dev_loss=nan, train_metric=nan, dev_metric=value, learning_rate=nan, seconds=1
        )
    runs = value is None or (to_epoch or epoch) > epoch
    return TrialRecord(
        number=number,
        params=params or CONTINUOUS.default(),
        seed=number,
        state=TrialState.RUNNING if runs else TrialState.PAUSED,
        tier=tier,
        to_epoch=to_epoch or epoch,
        rungs=() if value is None else ((epoch, value),),
        best=last,
        last=last,
    )


def test_the_first_tier_is_spread_around_the_default_and_the_next_around_the_best_so_far() -> None:
    best = trial(0, 0.9, params={**CONTINUOUS.default(), "learning_rate": 0.1, "hidden_units": 128}, tier="start")
    first, second = (
        opening(CONTINUOUS).next_start([best, *(trial(n, 0.5, tier="default") for n in range(1, 1 + done))])
        for done in (1, 5)
    )
    assert isinstance(first, Start)
    assert isinstance(second, Start)
    assert first.tier == "tier 1"
    assert {**first.params, "learning_rate": 0} == {**CONTINUOUS.default(), "learning_rate": 0}
    assert second.tier == "tier 2"
    assert second.params["learning_rate"] == 0.1


def test_regularisation_that_is_opened_with_the_others_joins_the_last_tier_and_else_has_a_pass_of_its_own() -> None:
    deep = Space((*CONTINUOUS, DEPTH))
    assert names_of(deep, opening(deep, with_regularisation=True))["tier 3"] == ["hidden_layers", "weight_decay"]
    assert names_of(CONTINUOUS, opening(CONTINUOUS, with_regularisation=True))["regularisation"] == ["weight_decay"]
    assert list(names_of(deep, opening(deep))) == ["tier 1", "tier 2", "tier 3"]
    without = Space(tuple(d for d in deep if d.name != "weight_decay"))
    plain, always = (names_of(without, opening(without, with_regularisation=opened)) for opened in (False, True))
    assert plain == always


def test_a_pass_is_as_long_as_there_are_other_values_to_try() -> None:
    assert [step.count for step in opening(DISCRETE).passes] == [2, 3]  # of 3 batch sizes and 4 depths
    assert [step.count for step in opening(CONTINUOUS).passes] == [4, 3]


def test_what_trains_beyond_the_next_rung_is_not_waited_for() -> None:
    paused = [trial(n, 0.5 + n / 10) for n in range(3)]
    late, early = trial(3, 0.4, epoch=MIDDLE, to_epoch=FULL), trial(3, 0.4, epoch=2, to_epoch=LOW)
    assert opening(CONTINUOUS).next_advance([*paused, late]) == Advance(trial=2, to_epoch=MIDDLE)
    assert opening(CONTINUOUS).next_advance([*paused, early]) is Wait.FOR_RUNNING


def test_once_all_trials_are_started_the_running_ones_are_awaited_before_the_best_goes_on() -> None:
    made = explorer([])
    records = [trial(n, 0.5 + n / 100, params=point) for n, point in enumerate(points(made.trials))]
    *paused, last = records
    running = trial(last.number, None, to_epoch=LOW, params=last.params)
    assert PriorityStrategy(made).decide((*paused, running), 1) == []
    best = Advance(trial=last.number, to_epoch=MIDDLE)
    assert PriorityStrategy(made).decide((*paused, last), 1) == [best]


def test_after_the_opening_a_good_trial_that_needs_little_more_goes_before_a_new_one_that_needs_all_epochs() -> None:
    made = explorer([])
    spread = points(made.opening.size)
    told = [trial(n, 0.3 + n / 100, params=point) for n, point in enumerate(spread)]
    told[0] = replace(trial(0, 0.6, epoch=FULL, params=spread[0]), state=TrialState.COMPLETE)
    told[1] = trial(1, 0.5, epoch=MIDDLE, params=spread[1])
    told[-1] = replace(told[-1], state=TrialState.FAILED, reason="diverged: loss is NaN", best=None, rungs=())

    def next_of(value: float) -> Start | Advance:
        nearly_done = trial(2, value, epoch=FULL - 1, params=spread[2])
        (decision,) = PriorityStrategy(made).decide((*told[:2], nearly_done, *told[3:]), 1)
        assert isinstance(decision, Start | Advance)
        return decision

    assert next_of(0.6) == Advance(trial=2, to_epoch=FULL)
    assert isinstance(next_of(-0.5), Start)


def points(count: int) -> list[Params]:
    rates = np.geomspace(1e-3, 0.3, count)
    return [{**CONTINUOUS.default(), "learning_rate": float(rate)} for rate in rates]
