"""What is closed or fixed never moves, whatever the strategy, also where a configuration would be a repetition."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contracts.strategy_contract import CONDITIONAL, CONTINUOUS, EPOCHS, Game, quality
from tests.depth import at_depth
from tests.search.test_stock_strategies import maker
from tests.spec.strategies import categorical_dimensions, float_dimensions, int_dimensions
from tuner.records import Direction, Params, ParamValue, TrialRecord
from tuner.search.distinct import Distinct, configurations, key_of
from tuner.search.observe import best_of
from tuner.search.registry import open_strategy
from tuner.search.seeding import generator
from tuner.spec.known.strategies import STRATEGIES
from tuner.spec.model import DataSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.spec.space import REGULARISATION_TIER, Dimension, Space, tier_label

RATE = Dimension(name="learning_rate", kind="float", tier=1, default=0.01, low=1e-4, high=1.0, scale="log")
BATCH = Dimension(name="batch_size", kind="categorical", tier=2, default=64, choices=(32, 64, 128))
LAYERS = Dimension(name="hidden_layers", kind="int", tier=3, default=2, low=1, high=3)
DROPOUT = Dimension(name="dropout", kind="float", tier=4, default=0.0, low=0.0, high=0.6)
FIXED = Dimension(name="fixed", kind="float", tier=3, default=0.5, low=0.5, high=0.5)
SMALL_TIERS = Space((RATE, BATCH, LAYERS, FIXED, DROPOUT))
"""Its tiers 2 and 3 have three values each, fewer than they get trials."""
NO_CONTINUUM = Space((replace(BATCH, tier=1), LAYERS, replace(DROPOUT, step=0.3)))


def records_of(strategy: str, space: Space, *, trials: int, seed: int = 0, workers: int = 1) -> list[TrialRecord]:
    game = Game(quality, direction=Direction.MAXIMIZE)
    made = maker(strategy)(space, Direction.MAXIMIZE, trials=trials, epochs=EPOCHS, seed=seed)
    game.play(made, workers=workers)
    return game.records


@pytest.mark.parametrize("space", [SMALL_TIERS, CONDITIONAL, NO_CONTINUUM], ids=["small", "conditional", "discrete"])
@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("seed", range(3))
def test_staged_moves_one_tier_at_a_time_from_the_best_before(space: Space, workers: int, seed: int) -> None:
    records = records_of("staged", space, trials=30, seed=seed, workers=workers)
    for tier in space.tiers:
        of_tier = [r for r in records if r.tier == tier_label(tier)]
        before = records[: of_tier[0].number] if of_tier else []
        base = best_of(before, Direction.MAXIMIZE)
        for record in of_tier:
            assert base is not None
            own = {d.name for d in space.in_tier(tier)}
            held = {name: value for name, value in base.params.items() if name not in own}
            kept = {name: value for name, value in record.params.items() if name in held}
            assert kept == {name: value for name, value in held.items() if name in record.params}


def test_trials_that_a_used_up_tier_leaves_go_to_the_next_and_the_end_is_said() -> None:
    records = records_of("staged", SMALL_TIERS, trials=30)
    assert sum(r.tier == "tier 2" for r in records) == 2
    assert len(records) == 30

    strategy = maker("staged")(NO_CONTINUUM, Direction.MAXIMIZE, trials=30, epochs=EPOCHS, seed=0)
    game = Game(quality, direction=Direction.MAXIMIZE)
    lines: list[str] = []
    while game.step(strategy, workers=2):
        lines += strategy.explain()
    assert len(game.records) == 1 + 2 + 2 + 2
    assert [line.split(":")[0] for line in lines if "used up" in line] == [
        "tier 1 is used up", "tier 3 is used up", "regularisation is used up",
    ]  # fmt: skip


def staged_records(*, trials: int, start: list[dict[str, ParamValue]] | None = None) -> list[TrialRecord]:
    spec = SweepSpec(
        study="s",
        data=DataSpec(source="x"),
        training=TrainingSpec(epochs=EPOCHS),
        search=SearchSpec(trials=trials, strategy="staged", start=start or []),
    )
    game = Game(quality, direction=Direction.MAXIMIZE)
    game.play(open_strategy(spec, CONTINUOUS, Direction.MAXIMIZE))
    return game.records


def test_staged_gives_each_tier_trials_by_its_hyperparameters_and_the_first_what_the_default_does_not_need() -> None:
    assert Counter(r.tier for r in staged_records(trials=21)) == {
        "default": 1, "tier 1": 5, "tier 2": 10, "regularisation": 5,
    }  # fmt: skip
    assert Counter(r.tier for r in staged_records(trials=21, start=[{}])) == {
        "start": 1, "tier 1": 6, "tier 2": 10, "regularisation": 4,
    }  # fmt: skip


def test_the_second_half_of_a_tier_is_drawn_near_its_best() -> None:
    records = staged_records(trials=41)
    first = [r for r in records if r.tier == "tier 1"]
    rate = CONTINUOUS["learning_rate"]
    units = [rate.to_unit(r.params["learning_rate"]) for r in first]
    half = len(first) // 2
    assert max(units[:half]) - min(units[:half]) > 0.6
    for number in range(half, len(first)):
        best = best_of(records[: first[number].number], Direction.MAXIMIZE)
        assert best is not None
        assert abs(units[number] - rate.to_unit(best.params["learning_rate"])) <= 0.25 + 1e-9
    assert len({*units[half:]}) == len(units[half:])


@pytest.mark.parametrize("strategy", ["priority", "staged"])
def test_a_start_that_is_the_default_is_not_tried_twice(strategy: str) -> None:
    spec = SweepSpec(
        study="s",
        data=DataSpec(source="x"),
        training=TrainingSpec(epochs=EPOCHS),
        search=SearchSpec(trials=12, strategy=strategy, start=[{}]),
    )
    game = Game(quality, direction=Direction.MAXIMIZE)
    game.play(open_strategy(spec, SMALL_TIERS, Direction.MAXIMIZE))
    assert len(game.records) == 12
    assert all(r.params["dropout"] == 0.0 for r in game.records if r.tier != tier_label(REGULARISATION_TIER))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 6])
@pytest.mark.parametrize("seed", range(3))
def test_priority_leaves_closed_regularisation_alone(workers: int, seed: int) -> None:
    # Train and dev are the same here, so that there is never variance to open it for.
    few = Space((replace(BATCH, tier=1), replace(LAYERS, high=2), DROPOUT))
    strategy = maker("priority")(few, Direction.MAXIMIZE, trials=20, epochs=EPOCHS, seed=seed)
    game = Game(quality, direction=Direction.MAXIMIZE)
    lines: list[str] = []
    while game.step(strategy, workers=workers):
        lines += strategy.explain()
    lines += strategy.explain()
    assert {r.params["dropout"] for r in game.records} == {0.0}
    assert len(game.records) == 6
    assert any("all 6 configurations" in line and "dropout is closed" in line for line in lines)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_fixed_hyperparameter_never_moves(strategy: str) -> None:
    assert {r.params["fixed"] for r in records_of(strategy, SMALL_TIERS, trials=8, workers=3)} == {0.5}


def spaces() -> st.SearchStrategy[Space]:
    names = [f"x{n}" for n in range(3)]
    kinds = [st.one_of(float_dimensions(name=n), int_dimensions(name=n), categorical_dimensions(name=n)) for n in names]
    return st.tuples(*kinds).map(lambda dimensions: Space(dimensions))


@pytest.mark.deep
@pytest.mark.slow
@settings(max_examples=at_depth(30))
@given(space=spaces(), data=st.data())
def test_a_repeated_proposal_moves_in_what_is_open_alone(space: Space, data: st.DataObject) -> None:
    distinct = Distinct(space)
    moving = data.draw(st.sets(st.sampled_from(space.names)))
    proposal: dict[str, ParamValue] = space.from_units([data.draw(st.floats(0, 1)) for _ in space])
    taken = {key_of(proposal)}
    for n in range(3):
        found = distinct.untried(dict(proposal), taken=taken, rng=generator(n), moving=moving)
        if found is None:
            break
        assert key_of(found) not in taken
        assert {n: v for n, v in found.items() if n not in moving} == {
            n: v for n, v in proposal.items() if n not in moving
        }
        taken.add(key_of(found))


def test_what_is_open_is_used_up_to_the_last_configuration() -> None:
    like: Params = SMALL_TIERS.default()
    listed = configurations(SMALL_TIERS, like=like, moving=["batch_size", "hidden_layers"])
    assert listed is not None
    assert {(p["batch_size"], p["hidden_layers"]) for p in listed} == set(itertools.product((32, 64, 128), (1, 2, 3)))
    distinct, taken = Distinct(SMALL_TIERS), set()
    for n in range(9):
        found = distinct.untried(dict(like), taken=taken, rng=generator(n), moving=["batch_size", "hidden_layers"])
        assert found is not None
        taken.add(key_of(found))
    assert distinct.untried(dict(like), taken=taken, rng=generator(0), moving=["batch_size", "hidden_layers"]) is None
