"""What Optuna's samplers are shown of the records."""

from __future__ import annotations

from dataclasses import replace

from optuna.samplers import RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from tests.contracts.strategy_contract import CONDITIONAL
from tests.report.test_leaderboard import record
from tuner.records import Direction, TrialRecord, TrialState
from tuner.search.optuna.samplers import make_pruner, make_sampler
from tuner.search.optuna.study import StudyMirror
from tuner.spec.space import Dimension, Space

RATE = Dimension(name="learning_rate", kind="float", tier=1, default=0.01, low=1e-4, high=1.0, scale="log")
RUNNING, ENDED = record(0, None, state=TrialState.RUNNING), record(0, 0.5)
DIVERGED = replace(record(1, None, state=TrialState.FAILED), reason="diverged: loss is NaN")


class Watching(RandomSampler):
    """Notes the trials before the one that it is asked for."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.seen: list[tuple[OptunaState, float | None]] = []

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.seen = [(t.state, t.value) for t in study.get_trials(deepcopy=False)[:-1]]


def shown(*moments: list[TrialRecord]) -> list[tuple[OptunaState, float | None]]:
    """What a sampler that is asked after each of these moments is shown at the last."""
    sampler = Watching()
    mirror = StudyMirror(
        Space((RATE,)),
        direction=Direction.MAXIMIZE,
        rungs=(3,),
        sampler=lambda number: sampler,
        pruner=make_pruner("none", epochs=3),
    )
    for records in moments:
        mirror.sync(records)
    mirror.ask()
    return sampler.seen


def test_every_hyperparameter_that_applies_is_asked_for_also_behind_one_that_does_not() -> None:
    for seed in range(4):
        mirror = StudyMirror(
            CONDITIONAL,
            direction=Direction.MAXIMIZE,
            rungs=(3,),
            sampler=make_sampler("random", CONDITIONAL, trials=9, seed=seed),
            pruner=make_pruner("none", epochs=3),
        )
        asked = mirror.ask()
        assert asked == CONDITIONAL.complete(asked)


def test_a_trial_that_was_known_while_it_ran_is_shown_with_its_value_once_it_has_ended() -> None:
    assert shown([RUNNING]) == [(OptunaState.RUNNING, None)]
    assert shown([RUNNING], [ENDED]) == shown([ENDED]) == [(OptunaState.COMPLETE, 0.5)]


def test_a_configuration_that_failed_is_worth_the_worst_so_far_and_worth_less_as_worse_ones_come() -> None:
    before = [ENDED, DIVERGED]
    assert shown(before)[1] == (OptunaState.COMPLETE, 0.5)
    for worse in (0.3, 0.6):
        after = [*before, record(2, worse)]
        assert shown(before, after) == shown(after)
        assert shown(after)[1] == (OptunaState.COMPLETE, min(worse, 0.5))
