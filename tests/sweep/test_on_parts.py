"""Training the winner again on parts of the training examples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.sweep.parts import EPOCHS, Notes, accuracy
from tests.sweep.test_finalists import record
from tuner.execute.scripted import ScriptedExecutor
from tuner.records import ON_A_PART, Part, TrialRecord, TrialState
from tuner.spec.model import LimitsSpec
from tuner.store.memory import MemoryStore
from tuner.sweep.loop import Sweep
from tuner.sweep.on_parts import PartsPlan, PartsStrategy
from tuner.sweep.stop import StopRequest

WINNER = replace(record(4, 0.5), params={"x": 0.4})


def train(plan: PartsPlan, before: tuple[TrialRecord, ...], *, most: int = 99) -> tuple[TrialRecord, ...]:
    store, stop = MemoryStore(study="s/learning-curve", records=before), StopRequest()
    strategy = PartsStrategy(plan, epochs=EPOCHS, before=before)

    class Stopper(Notes):
        def ended(self, record: TrialRecord) -> None:
            super().ended(record)
            stop.out_of_time = len(self.over) == most

    Sweep(
        strategy, store, ScriptedExecutor(accuracy, epochs=EPOCHS, width=1), folders=lambda n: Path(f"/nowhere/{n}"),
        limits=LimitsSpec(), watcher=Stopper(), stop=stop, facts=strategy.facts,
    ).run()  # fmt: skip
    return store.records()


def test_each_part_is_trained_once_on_each_seed_and_more_seeds_add_to_them() -> None:
    plan = PartsPlan(record=WINNER, shares=(0.25, 1.0), seeds=2)
    some = train(plan, (), most=3)
    assert 3 <= len(some) <= 4
    found = train(plan, some)
    assert [r.part for r in found] == [Part(share=s, draw=d) for d in (1, 2) for s in (0.25, 1.0)]
    assert all(r.state is TrialState.COMPLETE and r.tier == ON_A_PART and r.params == WINNER.params for r in found)
    assert found[2].name == "25 % of the training examples, seed 2 of 2"
    assert train(plan, found) == found
    more = train(replace(plan, shares=(0.5, 1.0), seeds=3), found)
    assert [r.part for r in more[4:]] == [Part(share=0.5, draw=d) for d in (1, 2)] + [
        Part(share=s, draw=3) for s in (0.5, 1.0)
    ]


def test_those_of_another_trial_do_not_count() -> None:
    plan = PartsPlan(record=WINNER, shares=(0.5, 1.0), seeds=1)
    found = train(plan, ())
    again = train(replace(plan, record=replace(WINNER, number=7)), found)
    assert [r.facts["repeat_of"] for r in again] == [4, 4, 7, 7]
