"""Training the best trials again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.sweep.parts import EPOCHS, Notes, accuracy, strategy, sweep
from tuner.execute.scripted import ScriptedExecutor
from tuner.ranking import rank_trials
from tuner.records import FINALIST, Direction, EpochResult, TrialRecord, TrialState
from tuner.spec.model import LimitsSpec
from tuner.store.memory import MemoryStore
from tuner.sweep.finalists import FinalistStrategy
from tuner.sweep.loop import Sweep
from tuner.sweep.stop import StopRequest
from tuner.sweep.watcher import Watcher


def record(number: int, value: float | None, state: TrialState = TrialState.COMPLETE) -> TrialRecord:
    best = None
    if value is not None:
        best = EpochResult(
            epoch=1, train_loss=0.0, dev_loss=0.0, train_metric=0.0, dev_metric=value, learning_rate=0.1, seconds=1.0
        )
    return TrialRecord(number=number, params={"x": number / 10}, seed=number, state=state, best=best, last=best)


@pytest.mark.parametrize(("direction", "expected"), [(Direction.MAXIMIZE, [2, 0, 4]), (Direction.MINIMIZE, [1, 0, 4])])
def test_the_best_are_complete_and_of_equals_the_earlier(direction: Direction, expected: list[int]) -> None:
    records = [
        record(0, 0.5), record(1, 0.1), record(2, 0.9), record(3, 0.95, TrialState.PRUNED), record(4, 0.5),
        record(5, None, TrialState.FAILED),
    ]  # fmt: skip
    assert [r.number for r in rank_trials(records, direction=direction)[:3]] == expected


def retrain(
    finalists: Sequence[TrialRecord], store: MemoryStore, *, seeds: int, stop: StopRequest, watcher: Watcher
) -> bool:
    plan = FinalistStrategy(finalists, seeds=seeds, epochs=EPOCHS, before=store.records())
    running = Sweep(
        plan, store, ScriptedExecutor(accuracy, epochs=EPOCHS, width=2), folders=lambda n: Path(f"/nowhere/{n}"),
        limits=LimitsSpec(), watcher=watcher, stop=stop, facts=plan.facts,
    )  # fmt: skip
    return running.run()


def test_each_is_trained_once_on_each_fresh_seed_and_a_resume_goes_on(tmp_path: Path) -> None:
    search = MemoryStore(study="s")
    sweep(tmp_path, strategy(trials=9), store=search).run()
    finalists = rank_trials(search.records(), direction=Direction.MAXIMIZE)[:3]
    store, stop = MemoryStore(study="s/finalists"), StopRequest()

    class Stopper(Notes):
        def ended(self, record: TrialRecord) -> None:
            super().ended(record)
            stop.out_of_time = len(self.over) == 4

    assert not retrain(finalists, store, seeds=2, stop=stop, watcher=Stopper())
    assert 4 <= len(store.records()) < 6
    for _ in range(2):  # the second time there is nothing left to do
        store = MemoryStore(study="s/finalists", records=store.records())
        assert retrain(finalists, store, seeds=2, stop=StopRequest(), watcher=Watcher())
        numbers = [r.number for r in finalists]
        assert [r.facts["repeat_of"] for r in store.records()] == [*numbers, *numbers]
    assert all(r.state is TrialState.COMPLETE and r.tier == FINALIST for r in store.records())
    assert [r.params for r in store.records()] == [r.params for r in (*finalists, *finalists)]
    seeds = {r.seed for r in store.records()}
    assert len(seeds) == 6
    assert not seeds & {r.seed for r in search.records()}


def test_more_seeds_for_fewer_trials_add_to_what_was_trained_before() -> None:
    finalists = [replace(record(n, 0.5), params={"x": n / 10}) for n in (4, 2, 7)]
    store, notes = MemoryStore(study="s/finalists"), Notes()
    for chosen, seeds in ((finalists, 3), (finalists[:2], 5), (finalists[:2], 5), (finalists[:1], 2)):
        store = MemoryStore(study="s/finalists", records=store.records())
        assert retrain(chosen, store, seeds=seeds, stop=StopRequest(), watcher=notes)
    assert Counter(r.facts["repeat_of"] for r in store.records()) == {4: 5, 2: 5, 7: 3}
    assert [r.params["x"] for r in store.records()] == [r.facts["repeat_of"] / 10 for r in store.records()]
    assert len({r.seed for r in store.records()}) == 13
    assert [r.name for r in notes.over[:4]] == [
        "finalist 4, seed 1 of 3", "finalist 2, seed 1 of 3", "finalist 7, seed 1 of 3", "finalist 4, seed 2 of 3",
    ]  # fmt: skip
    assert [r.name for r in notes.over[9:]] == [
        "finalist 4, seed 4 of 5", "finalist 2, seed 4 of 5", "finalist 4, seed 5 of 5", "finalist 2, seed 5 of 5",
    ]  # fmt: skip
    assert len(set(notes.heard)) == len(notes.heard) == 13 * EPOCHS


def test_when_the_best_have_changed_the_new_ones_are_trained_again_too() -> None:
    store = MemoryStore(study="s/finalists")
    for chosen in ([record(1, 0.5), record(2, 0.5)], [record(3, 0.6), record(1, 0.5)]):
        store = MemoryStore(study="s/finalists", records=store.records())
        assert retrain(chosen, store, seeds=2, stop=StopRequest(), watcher=Watcher())
    assert Counter(r.facts["repeat_of"] for r in store.records()) == {1: 2, 2: 2, 3: 2}
