"""Beginning with what other studies found: which of them count, and which of their configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contracts.store_contract import train
from tests.contracts.strategy_contract import EPOCHS, Game, quality
from tuner.errors import StudyNotFoundError
from tuner.paths import StudyPaths
from tuner.records import Direction, Params, TrialFinished
from tuner.search.registry import open_strategy
from tuner.search.strategy import Start
from tuner.spec.defaults import build_space
from tuner.spec.model import SweepSpec
from tuner.store.optuna_store import open_store
from tuner.store.standing import STANDING, Standing
from tuner.sweep.past import PastStarts, past_starts

SPACE: dict[str, Any] = {"learning_rate": {"low": 1e-4, "high": 1.0}, "hidden_units": {"low": 16, "high": 256}}


def sweep(
    name: str, *, space: dict[str, Any] = SPACE, model: str = "mlp", epochs: int = 3, **search: object
) -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "study": name,
            "data": {"source": "sklearn/digits"},
            "space": space,
            "model": model,
            "training": {"epochs": epochs},
            "search": {"trials": 40, **search},
        }
    )


def make_study(results: Path, spec: SweepSpec, trials: list[Params], *, finished: bool = True) -> None:
    """A study whose first trial is the best, and the second the next."""
    options: dict[str, Any] = {"study": spec.study, "direction": Direction.MAXIMIZE, "metric": "accuracy"}
    with open_store(StudyPaths(results / spec.study), space=build_space(spec), **options) as store:
        store.set("sweep", spec.model_dump(mode="json"))
        store.set(STANDING, Standing(stage="done" if finished else "search").to_json())
        for record in store.start([(params, 3, "all") for params in trials]):
            train(store, record.number, [0.5, 0.6, 0.9 - 0.01 * record.number])
            store.record(TrialFinished(trial=record.number, reason="all epochs"))


TRIALS: list[Params] = [{"learning_rate": rate, "hidden_units": 32} for rate in (0.3, 0.01, 0.001)]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A study of another network, one of this, one of nothing that is searched here, and one that is not finished."""
    make_study(tmp_path, sweep("a_linear", space={"learning_rate": {}}, model="linear"), [{"learning_rate": 0.5}])
    make_study(tmp_path, sweep("b_mlp"), TRIALS)
    make_study(tmp_path, sweep("c_depth", space={"hidden_layers": {}}), [{"hidden_layers": 3}])
    make_study(tmp_path, sweep("d_running"), [{"learning_rate": 0.9, "hidden_units": 99}], finished=False)
    make_study(tmp_path, sweep("new"), [{"learning_rate": 0.8, "hidden_units": 88}])
    return tmp_path


def found(spec: SweepSpec, results: Path) -> PastStarts:
    past = past_starts(spec, build_space(spec), results=results)
    assert past is not None
    return past


def test_without_the_key_there_are_none(results: Path) -> None:
    assert past_starts(sweep("new"), build_space(sweep("new")), results=results) is None


def test_the_best_of_each_study_come_first_those_most_like_this_one_before_others(results: Path) -> None:
    past = found(sweep("new", learn_from=str(results)), results)
    assert [params["learning_rate"] for params in past.starts] == [0.3, 0.5, 0.01]
    assert past.starts[0] == {"learning_rate": 0.3, "hidden_units": 32}
    assert past.starts[1] == {"learning_rate": 0.5}  # a linear model has no hidden units
    assert past.line.endswith(f"were best in finished studies of {results}: b_mlp, a_linear")


@pytest.mark.parametrize("given", [["a_linear"], ["a_linear", "a_linear", "d_running"]])
def test_studies_may_be_listed_by_name(given: list[str], results: Path) -> None:
    assert [p["learning_rate"] for p in found(sweep("new", learn_from=given), results).starts] == [0.5]


def test_studies_that_share_nothing_are_noted_and_no_error(results: Path) -> None:
    past = found(sweep("new", learn_from=["c_depth", "d_running"]), results)
    assert past.starts == ()
    assert "no finished study in c_depth, d_running shares a hyperparameter with this one" in past.line


def test_a_study_that_cannot_be_read_is_left_out(results: Path) -> None:
    (results / "b_mlp" / "study.db").write_bytes(b"no database at all, but as long as a header would be")
    assert [p["learning_rate"] for p in found(sweep("new", learn_from=str(results)), results).starts] == [0.5]


def test_a_folder_that_is_not_there_or_holds_no_study_is_an_error(results: Path) -> None:
    with pytest.raises(StudyNotFoundError, match=r"search\.learn_from: there is no folder nowhere; looked at "):
        found(sweep("new", learn_from="nowhere"), results)
    (results / "empty").mkdir()
    with pytest.raises(StudyNotFoundError, match=r"empty holds no study; give a folder of studies such as `results/`"):
        found(sweep("new", learn_from=str(results / "empty")), results)


def starts(spec: SweepSpec, past: list[Params], room: int = 8, **other: Any) -> list[Start]:
    strategy = open_strategy(spec, build_space(spec), Direction.MAXIMIZE, past=past, **other)
    return [decision for decision in strategy.decide((), room) if isinstance(decision, Start)]


MANY: list[Params] = [{"learning_rate": 10.0**-n, "hidden_units": 48 * (n + 1)} for n in range(5)]


@pytest.mark.parametrize("strategy", ["priority", "tpe"])
def test_a_search_begins_with_a_few_of_them_behind_what_the_file_says(strategy: str) -> None:
    first = starts(sweep("new", strategy=strategy, start=[{"learning_rate": 0.07}]), MANY, room=5)
    assert [s.tier for s in first] == ["start"] * 5
    assert [s.params["learning_rate"] for s in first] == [0.07, 1.0, 0.1, 0.01, 0.001]
    assert len(starts(sweep("new", strategy=strategy, trials=16), MANY)) == 2


def test_the_passes_of_the_tiers_follow_and_a_closed_tier_stays_at_its_default() -> None:
    spec = sweep("new", space={**SPACE, "weight_decay": {}}, epochs=EPOCHS)
    past: list[Params] = [{"learning_rate": 0.2, "hidden_units": 200, "weight_decay": 0.05}]
    game = Game(quality, direction=Direction.MAXIMIZE)
    strategy = open_strategy(spec, build_space(spec), Direction.MAXIMIZE, past=past)
    for _ in range(3):
        game.step(strategy, workers=1)
    assert [record.tier for record in game.records] == ["start", "default", "tier 1"]
    assert game.records[0].params == {"learning_rate": 0.2, "hidden_units": 200, "weight_decay": 1e-4}
    search = spec.search.model_copy(update={"regularisation": "always"})
    (first,) = starts(spec.model_copy(update={"search": search}), past)
    assert first.params["weight_decay"] == 0.05


def test_a_study_that_goes_on_takes_none_that_came_later() -> None:
    game = Game(quality, direction=Direction.MAXIMIZE)
    spec = sweep("new", epochs=EPOCHS)
    begun = open_strategy(spec, build_space(spec), Direction.MAXIMIZE, past=MANY[:1])
    for _ in range(6):
        game.step(begun, workers=1)
    later = open_strategy(spec, build_space(spec), Direction.MAXIMIZE, past=MANY[1:4])
    for _ in range(6):
        game.step(later, workers=1)
    assert sum(record.tier == "start" for record in game.records) == 1
