"""Searches that begin with configurations learned on other data."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import tuner.search.portfolio
from tests.contracts.strategy_contract import CONTINUOUS, EPOCHS, SPACES, Game, Make, StrategyContract, quality
from tests.search.test_opening import DEPTH
from tests.search.test_priority import sweep
from tuner.errors import SweepFileError
from tuner.records import Direction, Params
from tuner.search.cube import Cube
from tuner.search.portfolio import Learned, known_columns, learned_points, learned_starts
from tuner.search.registry import open_strategy
from tuner.search.rungs import priority_rungs
from tuner.search.strategy import Strategy
from tuner.spec.defaults import build_space
from tuner.spec.model import SweepSpec
from tuner.spec.portfolio import read_portfolio
from tuner.spec.space import Dimension, Space

LEARNED: list[Params] = [
    {"learning_rate": 0.03, "hidden_units": 512, "weight_decay": 1e-3, "unheard_of": 3},
    {"learning_rate": 0.001, "hidden_units": 32},
    {"learning_rate": 0.03, "hidden_units": 1024, "weight_decay": 1e-3},
]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["priority", pytest.param("tpe", marks=pytest.mark.deep)])
class TestBegunByAPortfolio(StrategyContract):
    trials = 20

    @pytest.fixture
    def make(self, strategy: str) -> Make:
        def make(space: Space, direction: Direction, *, trials: int, epochs: int, seed: int) -> Strategy:
            spec = SweepSpec.model_validate(
                {
                    "study": "s",
                    "data": {"source": "sklearn/digits"},
                    "training": {"epochs": epochs},
                    "search": {"strategy": strategy, "trials": trials, "seed": seed},
                }
            )
            return open_strategy(spec, space, direction, learned=LEARNED)

        return make


def played(space: Space, *, trials: int = 30, **search: Any) -> Game:
    game = Game(quality, direction=Direction.MAXIMIZE)
    spec = sweep(trials=trials, **search)
    game.play(open_strategy(spec, space, Direction.MAXIMIZE, learned=LEARNED))
    return game


@pytest.mark.slow
def test_after_the_default_come_the_learned_configurations_and_then_what_they_do_not_know() -> None:
    game = played(Space((*CONTINUOUS, DEPTH)))
    default, first, second, *others = game.records
    assert default.params == Space((*CONTINUOUS, DEPTH)).default()
    assert [r.tier for r in game.records[1:4]] == ["portfolio", "portfolio", "tier 2"]  # the third is as the first
    assert (first.params["learning_rate"], first.params["hidden_units"]) == (0.03, 256)
    assert (second.params["learning_rate"], second.params["hidden_units"]) == (0.001, 32)
    of_tier = [r for r in others if r.tier == "tier 2"]
    assert len({r.params["momentum"] for r in of_tier}) == len(of_tier) == 3
    assert len({r.params["hidden_units"] for r in of_tier}) == 1  # the best one's
    assert sum(r.tier == "tier 3" for r in others) == 3
    assert not any(r.tier == "tier 1" for r in others)


@pytest.mark.slow
def test_a_closed_tier_stays_at_its_default_and_an_open_one_takes_what_was_learned() -> None:
    assert [r.params["weight_decay"] for r in played(CONTINUOUS).records[1:3]] == [1e-4, 1e-4]
    always = played(CONTINUOUS, regularisation="always").records
    assert [r.params["weight_decay"] for r in always[1:3]] == [1e-3, 1e-4]


@pytest.mark.slow
def test_more_of_them_are_trained_on_than_of_other_openings() -> None:
    """Of the opening's trials, before the first that the model chose."""
    many: list[Params] = [{"learning_rate": 0.001 * 1.5**n, "hidden_units": 8 * (n + 1)} for n in range(8)]
    made = {"learned": many, "alone": ()}
    reached = {}
    for name, learned in made.items():
        game = Game(quality, direction=Direction.MAXIMIZE)
        strategy = open_strategy(sweep(), CONTINUOUS, Direction.MAXIMIZE, learned=learned)
        while not any(r.tier == "all" for r in game.records):
            game.step(strategy, workers=1)
        reached[name] = sum(r.epochs >= priority_rungs(EPOCHS)[1] for r in game.records)
    assert reached == {"learned": 5, "alone": 3}


@pytest.mark.slow
def test_what_a_user_writes_under_start_is_tried_before(tmp_path: Path) -> None:
    game = played(CONTINUOUS, start=[{"learning_rate": 0.5}])
    assert [r.tier for r in game.records[:3]] == ["start", "default", "portfolio"]


@pytest.mark.slow
def test_a_short_search_keeps_half_of_its_trials() -> None:
    assert sum(r.tier == "portfolio" for r in played(CONTINUOUS, trials=4).records) == 1


@pytest.mark.parametrize("name", SPACES)
def test_points_lie_nearest_to_the_configurations_in_order_without_repetitions(name: str) -> None:
    cube = Cube(SPACES[name])
    learned: list[Params] = [
        {"learning_rate": 5.0, "batch_size": 100, "hidden_layers": 9, "optimizer": "lion"},
        {"learning_rate": 1e-9, "batch_size": 1, "hidden_layers": "many", "momentum": True},
        {"learning_rate": 5.0, "batch_size": 128, "hidden_layers": 90},
        cube.space.default(),
    ]
    found = [cube.params(p) for p in learned_points(cube, learned, known=known_columns(cube, learned))]
    assert len(found) == 2
    assert all(cube.space.contains(params) for params in found)
    expected: dict[str, tuple[object, ...]] = {
        "learning_rate": (1.0, 1e-4), "batch_size": (128, 32), "hidden_layers": (4, 2), "optimizer": ("sgd", "sgd"),
    }  # fmt: skip
    for parameter, values in expected.items():
        for params, value in zip(found, values, strict=True):
            if parameter in params and name != "conditional":
                assert params[parameter] == value


def file_of(folder: Path, content: object) -> SweepSpec:
    (folder / "learned.json").write_text(content if isinstance(content, str) else json.dumps(content))
    spec = sweep()
    search = spec.search.model_copy(update={"portfolio": "learned.json"})
    return spec.model_copy(update={"search": search, "root": str(folder)})


def on_a_table(*, source: str = "rows.csv", space: dict[str, Any] | None = None, **blocks: Any) -> SweepSpec:
    return SweepSpec.model_validate({"study": "s", "data": {"source": source}, "space": space, **blocks})


def shipped(spec: SweepSpec) -> Learned | None:
    return learned_starts(spec, build_space(spec))


SGD: dict[str, Any] = {"training": {"optimizer": "sgd"}}


@pytest.mark.parametrize("source", ["rows.csv", "rows.TSV.gz", "far/rows.parquet", "sklearn/breast_cancer"])
def test_a_search_of_a_table_begins_with_what_comes_with_tuner(source: str) -> None:
    spec = on_a_table(source=source)
    found = shipped(spec)
    assert found is not None
    assert "configurations of tuner's own portfolio, which knows learning_rate, momentum, batch_size" in found.line
    game = Game(quality, direction=Direction.MAXIMIZE)
    strategy = open_strategy(spec, build_space(spec), Direction.MAXIMIZE, learned=found.starts)
    for _ in range(3):
        game.step(strategy, workers=1)
    assert [r.tier for r in game.records] == ["default", "portfolio", "portfolio"]
    assert game.records[1].params["learning_rate"] == found.starts[0]["learning_rate"]


@pytest.mark.parametrize(
    "other",
    [
        {"search": {"portfolio": "off"}},
        {"search": {"strategy": "tpe"}},
        {"source": "sklearn/digits"},
        {"source": "images.npz"},
        {"source": "load.py:rows"},
        {"model": "linear"},
        {"model": "net.py:make"},
        {"training": {"optimizer": "rmsprop"}},
        {"space": {"learning_rate": {}, "momentum": {"tier": 1}}},
        {"space": {"depth_of_mine": {"low": 1, "high": 9}}},
        {"space": {"weight_decay": {}}},
        {"command": "train.sh {learning_rate}", "space": {"learning_rate": {}}},
    ],
)
def test_other_searches_begin_as_without(other: dict[str, Any]) -> None:
    assert shipped(on_a_table(**other)) is None


def test_tiers_that_say_what_is_known_change_nothing() -> None:
    space = {
        "learning_rate": {"tier": 1},
        "momentum": {},
        "dropout": {"tier": "regularisation"},
        "mine": {"low": 0.0, "high": 1.0},
    }
    assert shipped(on_a_table(space=space)) is not None


def test_where_only_a_part_is_searched_nearly_the_same_is_not_tried_twice() -> None:
    spec = on_a_table(space={"learning_rate": {}}, **SGD)
    found = shipped(spec)
    assert found is not None
    cube = Cube(build_space(spec))
    points = learned_points(cube, found.starts, known=known_columns(cube, found.starts))
    units = sorted([*points[:, 0], cube.default[0]])
    assert 3 <= len(units) <= len(found.starts)
    assert min(b - a for a, b in pairwise(units)) >= 0.05


def test_the_shipped_file_is_small_says_where_it_is_from_and_judges_nothing() -> None:
    path = Path(tuner.search.portfolio.__file__).with_name("portfolio.json")
    assert path.stat().st_size < 50_000
    about = json.loads(path.read_text())["about"]
    assert {"learned_from", "packages", "commit", "commands", "seeds", "leave_one_table_out"} <= about.keys()
    judges = {"german", "phoneme", "haberman", "glass", "sonar", "abalone", "adult", "mammography", "wine", "letter"}
    judges |= {
        "optdigits",
        "vehicle",
        "concrete",
        "ames",
        "credit",
        "spambase",
        "satimage",
        "magic",
        "segment",
        "vowel",
    }
    assert not judges & set(about["learned_from"])
    entries = read_portfolio(path, given="it")
    for entry in entries:
        for optimizer in entry.optimizers:
            for model in entry.models:
                spec = on_a_table(model=model, training={"optimizer": optimizer})
                space = build_space(spec)
                assert all(space[name].contains(value) for start in entry.starts for name, value in start.items())
    assert all(difference < 0 for difference in about["leave_one_table_out"]["mlp-sgd"]["epochs"]["difference"])


def portfolio(**entry: object) -> dict[str, object]:
    return {"about": {}, "portfolios": [{"models": ["mlp"], "optimizers": ["sgd"], "starts": LEARNED, **entry}]}


def test_a_file_serves_the_models_and_optimisers_that_it_names(tmp_path: Path) -> None:
    assert learned_starts(sweep(), CONTINUOUS) is None
    found = learned_starts(file_of(tmp_path, portfolio()), CONTINUOUS)
    assert found is not None
    assert list(found.starts) == LEARNED
    assert found.line.endswith("portfolio learned.json, which knows learning_rate, hidden_units, weight_decay")
    for other, what in (({"models": ["cnn", "own"]}, "model mlp with sgd"), ({"optimizers": ["adam"]}, "with sgd")):
        none = learned_starts(file_of(tmp_path, portfolio(**other)), CONTINUOUS)
        assert none is not None
        assert none.starts == ()
        assert f"has nothing for {what}" in none.line or what in none.line
    depth = Space((Dimension(name="own_depth", kind="int", tier=1, default=2, low=1, high=9),))
    unfit = learned_starts(file_of(tmp_path, portfolio()), depth)
    assert unfit is not None
    assert unfit.line.endswith("has nothing for the hyperparameters of this space: the search begins without it")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "learned.json:1:2: is no JSON: Expecting property name"),
        ([], "learned.json is no portfolio: the file: "),
        ({"about": {}, "portfolios": [], "more": 1}, "learned.json is no portfolio: more: Extra inputs"),
        (portfolio(starts=[{"a": [1]}]), "learned.json is no portfolio: portfolios.0.starts.0.a"),
        (portfolio(models=[]), "learned.json is no portfolio: portfolios.0.models: List should have at least 1 item"),
    ],
)
def test_what_is_no_portfolio_is_named_with_its_place(content: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(SweepFileError, match=r"search\.portfolio: ") as error:
        learned_starts(file_of(tmp_path, content), CONTINUOUS)
    assert said in str(error.value)


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    spec = file_of(tmp_path, portfolio())
    (tmp_path / "learned.json").unlink()
    with pytest.raises(SweepFileError, match=r"search\.portfolio: learned\.json cannot be read: No such file"):
        learned_starts(spec, CONTINUOUS)
