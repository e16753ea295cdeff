"""Samplers and pruners of Optuna's, and strategies, by import path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.sweep.parts import EPOCHS, SPACE, accuracy, states, sweep
from tuner.errors import SweepFileError, UserCodeError
from tuner.records import Direction, TrialState
from tuner.search.registry import open_strategy
from tuner.search.strategy import Strategy
from tuner.spec.model import DataSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.spec.reader import parse_sweep
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


def by_path(folder: Path, strategy: str, *, pruner: str = "none", trials: int = 6, **arguments: Any) -> Strategy:
    (folder / "mine.py").write_text(FILE)
    search = SearchSpec(trials=trials, strategy=strategy, pruner=pruner, **arguments)
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
        ("random", "optuna.pruners:PercentilePruner", r"`search: \{pruner_arguments: \{NAME: VALUE\}\}`"),
    ],
)
def test_what_is_no_sampler_or_pruner_is_refused(tmp_path: Path, strategy: str, pruner: str, rule: str) -> None:
    with pytest.raises(UserCodeError, match=rule):
        by_path(tmp_path, strategy, pruner=pruner)


def test_arguments_reach_samplers_pruners_and_functions(tmp_path: Path) -> None:
    strategy: Any = by_path(
        tmp_path, "optuna.samplers:NSGAIISampler", arguments={"population_size": 4, "crossover_prob": 0.5},
        pruner="optuna.pruners:PercentilePruner", pruner_arguments={"percentile": 10.0, "n_startup_trials": 2},
    )  # fmt: skip
    mirror = strategy._mirror
    assert (mirror._sampler(0)._population_size, mirror._pruner._percentile) == (4, 10.0)
    (tmp_path / "maker.py").write_text("def make(request): raise KeyError(request.asked.arguments['depth'])\n")
    with pytest.raises(KeyError, match="7"):
        by_path(tmp_path, "maker.py:make", arguments={"depth": 7})


@pytest.mark.parametrize(
    ("block", "said"),
    [
        (
            'strategy: "optuna.samplers:NSGAIISampler", arguments: {population_sise: 4}',
            "s.yaml:3:82: search.arguments.population_sise: is no argument of optuna.samplers:NSGAIISampler; Did you "
            'mean "population_size"?',
        ),
        (
            'strategy: "optuna.samplers:NSGAIISampler", arguments: {population_size: 1}',
            "s.yaml:3:64: search.arguments: optuna.samplers:NSGAIISampler cannot be made: ValueError: ",
        ),
        (
            'pruner: "optuna.pruners:PercentilePruner", pruner_arguments: {percentile: 101}',
            "s.yaml:3:71: search.pruner_arguments: optuna.pruners:PercentilePruner cannot be made: ValueError: ",
        ),
        (
            "strategy: tpe, arguments: {gamma: 3}",
            "s.yaml:3:25: search.arguments: has no effect with strategy tpe, which is not named by its path; name a "
            "strategy by its path, or remove it",
        ),
        (
            "pruner_arguments: {percentile: 3}",
            "s.yaml:3:10: search.pruner_arguments: has no effect without a pruner that is named by its path; name a "
            "pruner by its path, or remove it",
        ),
    ],
)
def test_arguments_that_are_wrong_are_refused_where_they_stand(tmp_path: Path, block: str, said: str) -> None:
    text = f"study: s\ndata: {{source: x.csv}}\nsearch: {{{block}}}\n"

    def read_and_open() -> None:
        spec, _ = parse_sweep(text, name="s.yaml", root=tmp_path)
        open_strategy(spec, SPACE, Direction.MAXIMIZE)

    with pytest.raises(SweepFileError) as caught:
        read_and_open()
    assert str(caught.value).startswith(said)
