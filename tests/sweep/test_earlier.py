"""Learning from an earlier study: which of its trials count, and when it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contracts.store_contract import train
from tuner.errors import StudyMismatchError, StudyNotFoundError
from tuner.paths import StudyPaths
from tuner.records import Direction, Params, TrialFinished
from tuner.search.registry import open_strategy
from tuner.search.strategy import Start
from tuner.spec.defaults import build_space
from tuner.spec.model import SweepSpec
from tuner.store.optuna_store import open_store
from tuner.sweep.earlier import EarlierTrials, earlier_trials

SPACE: dict[str, Any] = {"learning_rate": {"low": 1e-4, "high": 1.0}, "hidden_units": {"low": 16, "high": 256}}
DATA = {"sha256": "a"}


def sweep(name: str, *, space: dict[str, Any] = SPACE, warm_start: str | None = None, **training: object) -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "study": name,
            "data": {"source": "sklearn/digits"},
            "space": space,
            "training": {"epochs": 3, **training},
            "search": {"trials": 20, "warm_start": warm_start},
        }
    )


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A study `old` of 12 trials at rising learning rates."""
    spec = sweep("old")
    space = build_space(spec)
    paths = StudyPaths(tmp_path / "old")
    with open_store(paths, study="old", direction=Direction.MAXIMIZE, metric="accuracy", space=space) as store:
        store.set("sweep", spec.model_dump(mode="json"))
        store.set("data", DATA)
        trials: list[Params] = [{"learning_rate": 0.001 * 1.7**k, "hidden_units": 32 + k} for k in range(12)]
        for record in store.start([(params, 3, "all") for params in trials]):
            train(store, record.number, [0.5, 0.6, 0.9 - 0.01 * record.number])
            store.record(TrialFinished(trial=record.number, reason="all epochs"))
        store.start([({"learning_rate": 0.5, "hidden_units": 64}, 3, "all")])  # still running
    return tmp_path


def learned(spec: SweepSpec, results: Path, data: dict[str, str] = DATA) -> EarlierTrials | None:
    return earlier_trials(spec, build_space(spec), data, results=results, store_url=None)


def test_without_the_key_there_are_none(results: Path) -> None:
    assert learned(sweep("new"), results) is None


@pytest.mark.parametrize("by", ["name", "folder"])
def test_finished_trials_are_found_by_name_and_by_folder(results: Path, by: str) -> None:
    given = "old" if by == "name" else str(results / "old")
    found = learned(sweep("new", warm_start=given), results)
    assert found is not None
    assert len(found.records) == 12
    assert found.outside == 0
    assert found.line == 'the search learns from 12 trials of study "old"'


def test_trials_outside_a_smaller_space_are_counted(results: Path) -> None:
    space = {**SPACE, "hidden_units": {"low": 16, "high": 40}}
    found = learned(sweep("new", space=space, warm_start="old"), results)
    assert found is not None
    assert {r.params["hidden_units"] for r in found.records} == set(range(32, 41))
    assert found.line.endswith("; 3 more lie outside this space")


def test_what_was_at_its_default_then_may_be_searched_now(results: Path) -> None:
    space = {**SPACE, "dropout": {"low": 0.0, "high": 0.5}}
    found = learned(sweep("new", space=space, warm_start="old"), results)
    assert found is not None
    assert {r.params["dropout"] for r in found.records} == {0.0}


def test_what_is_fixed_now_must_have_had_that_value_then(results: Path) -> None:
    space = {"hidden_units": SPACE["hidden_units"]}
    found = learned(sweep("new", space=space, warm_start="old", learning_rate=0.001), results)
    assert found is not None
    assert [(r.number, r.params) for r in found.records] == [(0, {"hidden_units": 32})]


def test_the_search_starts_with_what_was_learned(results: Path) -> None:
    spec = sweep("new", warm_start="old")
    found = learned(spec, results)
    assert found is not None
    strategy = open_strategy(spec, build_space(spec), Direction.MAXIMIZE, earlier=found.records)
    (first,) = strategy.decide((), 1)
    assert isinstance(first, Start)
    assert first.params not in [r.params for r in found.records]


@pytest.mark.parametrize(
    ("data", "training", "said"),
    [
        ({"sha256": "b"}, {}, "data: the train and dev examples are not those"),
        (DATA, {"epochs": 5}, "training.epochs: was 3, is 5"),
        (DATA, {"optimizer": "adam"}, "training.optimizer: was sgd, is adam"),
    ],
)
def test_trials_that_say_nothing_here_are_refused(
    results: Path, data: dict[str, str], training: dict[str, object], said: str
) -> None:
    with pytest.raises(StudyMismatchError) as raised:
        learned(sweep("new", warm_start="old", **training), results, data)
    assert said in str(raised.value)
    assert "search.start" in str(raised.value)


def test_a_study_that_is_not_there_is_named(results: Path) -> None:
    with pytest.raises(StudyNotFoundError, match="olf"):
        learned(sweep("new", warm_start="olf"), results)
