"""Samplers and pruners of Optuna's, and strategies, by import path."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sweep.parts import EPOCHS, SPACE, accuracy, states, sweep
from tuner.errors import UserCodeError
from tuner.records import Direction, TrialState
from tuner.search.registry import open_strategy
from tuner.search.strategy import Strategy
from tuner.spec.model import DataSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.store.memory import MemoryStore

FILE = """
from optuna.pruners import PercentilePruner
from optuna.samplers import RandomSampler, TPESampler

class Mine(TPESampler):
    def __init__(self, seed):
        super().__init__(seed=seed, n_startup_trials=2)

class NeedsMore(RandomSampler):
    def __init__(self, more): ...

class Quarter(PercentilePruner):
    def __init__(self):
        super().__init__(25.0, n_startup_trials=3)

NUMBER = 3
"""


def by_path(folder: Path, strategy: str, *, pruner: str = "none", trials: int = 6) -> Strategy:
    (folder / "mine.py").write_text(FILE)
    search = SearchSpec(trials=trials, strategy=strategy, pruner=pruner)
    training = TrainingSpec(epochs=EPOCHS)
    spec = SweepSpec(study="s", data=DataSpec(source="x.csv"), training=training, search=search, root=str(folder))
    return open_strategy(spec, SPACE, Direction.MAXIMIZE)


@pytest.mark.parametrize("path", ["optuna.samplers:NSGAIISampler", "optuna.samplers:QMCSampler", "mine.py:Mine"])
def test_a_sampler_by_its_path_proposes_the_same_when_it_is_made_anew(tmp_path: Path, path: str) -> None:
    whole, in_parts = MemoryStore(), MemoryStore()
    assert sweep(tmp_path, by_path(tmp_path, path), store=whole, curve=accuracy, width=1).run()
    for trials in range(1, 7):
        assert sweep(tmp_path, by_path(tmp_path, path, trials=trials), store=in_parts, curve=accuracy, width=1).run()
    assert [r.params for r in whole.records()] == [r.params for r in in_parts.records()]
    assert len({r.params["x"] for r in whole.records()}) == 6


def test_a_pruner_by_its_path_ends_trials(tmp_path: Path) -> None:
    store = MemoryStore()
    assert sweep(tmp_path, by_path(tmp_path, "random", pruner="mine.py:Quarter", trials=12), store=store).run()
    assert {TrialState.COMPLETE, TrialState.PRUNED} == set(states(store))


@pytest.mark.parametrize(
    ("strategy", "pruner", "rule"),
    [
        ("mine.py:NeedsMore", "none", "cannot be made"),
        ("mine.py:NUMBER", "none", "must be a sampler's class"),
        ("mine.py:Nobody", "none", "has no"),
        ("optuna.pruners:MedianPruner", "none", "write it at search.pruner"),
        ("random", "mine.py:Mine", "must be a class of Optuna's pruners"),
        ("random", "optuna.pruners:PercentilePruner", "without arguments"),
    ],
)
def test_what_is_no_sampler_or_pruner_is_refused(tmp_path: Path, strategy: str, pruner: str, rule: str) -> None:
    with pytest.raises(UserCodeError, match=rule):
        by_path(tmp_path, strategy, pruner=pruner)
