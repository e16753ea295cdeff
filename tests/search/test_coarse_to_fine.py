"""Zooming around winners, and rounds within a study."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contracts.strategy_contract import CONTINUOUS, EPOCHS, Game, quality
from tests.search.test_priority import sweep
from tuner.records import Direction, Params, TrialState
from tuner.search.registry import open_strategy
from tuner.search.wrap.zoom import tried, zoom, zoomed_space
from tuner.spec.space import Dimension, Space

SPACE = Space(
    (
        Dimension(name="learning_rate", kind="float", tier=1, default=0.01, low=1e-4, high=1.0, scale="log"),
        Dimension(name="momentum", kind="float", tier=2, default=0.9, low=0.5, high=0.99, scale="log1m"),
        Dimension(name="hidden_layers", kind="int", tier=2, default=2, low=1, high=9),
        Dimension(name="batch_size", kind="categorical", tier=2, default=64, choices=(16, 32, 64, 128, 256)),
        Dimension(name="activation", kind="categorical", tier=3, default="relu", choices=("relu", "tanh", "gelu")),
    )
)
WINNERS: list[Params] = [
    {
        "learning_rate": 0.03 * 1.2**k,
        "momentum": 0.95 + 0.002 * k,
        "hidden_layers": 4 + k % 2,
        "batch_size": (32, 64)[k % 2],
        "activation": "relu",
    }
    for k in range(5)
]


class TestZoom:
    def changed(self, *, winners: list[Params] = WINNERS, **beyond: object) -> dict[str, Dimension]:
        changes = zoom(SPACE, winners, beyond=beyond.get("beyond"))  # type: ignore[arg-type]
        return {change.dimension.name: change.dimension for change in changes}

    def test_ranges_shrink_around_the_winners(self) -> None:
        changed = self.changed()
        for name in ("learning_rate", "momentum", "hidden_layers"):
            old, new = SPACE[name], changed[name]
            values = [float(w[name]) for w in WINNERS]
            assert old.low <= new.low <= min(values) <= max(values) <= new.high <= old.high
            assert old.to_unit(new.high) - old.to_unit(new.low) < 0.7

    def test_ends_that_are_kept_do_not_move_in(self) -> None:
        kept = [("learning_rate", "high"), ("hidden_layers", "low"), ("batch_size", "high")]
        changed = {c.dimension.name: c.dimension for c in zoom(SPACE, WINNERS, kept=kept)}  # type: ignore[arg-type]
        plain = self.changed()
        assert changed["learning_rate"].high == SPACE["learning_rate"].high
        assert changed["learning_rate"].low == plain["learning_rate"].low
        assert changed["hidden_layers"].low == 1
        assert "batch_size" in plain
        assert "batch_size" not in changed  # which has all of its choices

    def test_what_few_trials_had_at_another_value_was_not_tried(self) -> None:
        """Winners at a default that hardly a trial has left say nothing of the range."""
        same: list[Params] = [{**WINNERS[0], "hidden_layers": 4} for _ in range(8)]
        others: list[Params] = [{**WINNERS[0], "hidden_layers": k} for k in (6, 7)]
        assert "hidden_layers" not in tried(SPACE, [*same, *others])
        assert tried(SPACE, [*same, *others, {**WINNERS[0], "hidden_layers": 8}]) == {"hidden_layers"}

    def test_bounds_are_short_numbers(self) -> None:
        rate = self.changed()["learning_rate"]
        assert (f"{rate.low:.2g}", f"{rate.high:.2g}") == (f"{rate.low:g}", f"{rate.high:g}")
        assert len(f"{self.changed()['momentum'].high:g}") <= 5

    def test_ordered_choices_keep_neighbours_and_others_only_winners(self) -> None:
        changed = self.changed()
        assert changed["batch_size"].choices == (16, 32, 64, 128)
        assert changed["activation"].choices == ("relu",)

    def test_the_default_becomes_the_best(self) -> None:
        assert {name: d.default for name, d in self.changed().items()} == {
            name: WINNERS[0][name] for name in self.changed()
        }

    def test_a_crowded_bound_is_widened_and_the_reason_given(self) -> None:
        winners = [{**w, "learning_rate": 0.9 + 0.02 * k} for k, w in enumerate(WINNERS)]
        (change,) = [
            c for c in zoom(SPACE, winners, beyond={("learning_rate", "high"): 10.0}) if "rate" in c.dimension.name
        ]
        assert change.kind == "widened"
        assert change.dimension.high == 10.0
        assert "upper bound" in change.reason

    def test_too_few_winners_change_nothing(self) -> None:
        assert self.changed(winners=WINNERS[:2]) == {}

    def test_winners_everywhere_change_nothing(self) -> None:
        rng = random.Random(0)
        everywhere = [SPACE.from_units([(k + rng.random()) / 10 for _ in SPACE]) for k in range(10)]
        assert set(self.changed(winners=everywhere)) <= {"activation"}

    @pytest.mark.slow
    @given(st.lists(st.lists(st.floats(0, 1), min_size=5, max_size=5), min_size=3, max_size=12))
    def test_every_winner_stays_inside_and_every_value_was_inside(self, points: list[list[float]]) -> None:
        winners = [SPACE.from_units(point) for point in points]
        space, _ = zoomed_space(SPACE, winners)
        assert all(space.contains(winner) for winner in winners)
        assert SPACE.contains(space.default())
        for unit in (0.0, 0.3, 1.0):
            assert SPACE.contains(space.from_units([unit] * len(space)))


class TestConditions:
    SPACE = Space(
        (
            Dimension(name="optimizer", kind="categorical", tier=1, default="sgd", choices=("sgd", "adam")),
            Dimension(
                name="beta2", kind="float", tier=2, default=0.99, low=0.9, high=0.999, when={"optimizer": ("adam",)}
            ),
            Dimension(name="rate", kind="float", tier=2, default=0.5, low=0.1, high=1.0),
        )
    )

    def test_what_only_a_choice_that_lost_needs_is_dropped(self) -> None:
        winners: list[Params] = [{"optimizer": "sgd", "rate": 0.1 * k} for k in range(1, 10)]
        space, changes = zoomed_space(self.SPACE, winners)
        assert [(c.dimension.name, c.kind) for c in changes] == [("optimizer", "zoomed"), ("beta2", "dropped")]
        assert changes[1].text == "dropped: optimizer is not to be adam any more"
        assert space.names == ("optimizer", "rate")
        assert all(space.contains(winner) for winner in winners)

    def test_a_grid_is_widened_by_whole_steps(self) -> None:
        odd = Dimension(name="kernel", kind="int", tier=2, default=3, low=3, high=9, step=2)
        at_the_top: list[Params] = [{"kernel": 9}] * 4
        (wider,) = zoom(Space((odd,)), at_the_top, beyond={("kernel", "high"): 12})
        assert (wider.kind, wider.dimension.high) == ("widened", 11)
        (kept,) = zoom(Space((odd,)), at_the_top, beyond={("kernel", "high"): 10})
        assert (kept.kind, kept.dimension.high) == ("zoomed", 9)


class TestRounds:
    @pytest.mark.slow
    def test_the_second_round_is_finer_and_starts_when_the_first_is_over(self) -> None:
        game = Game(quality, direction=Direction.MAXIMIZE)
        strategy = open_strategy(sweep(trials=40, refine=1), CONTINUOUS, Direction.MAXIMIZE)
        lines: list[str] = []
        while game.step(strategy, workers=2):
            lines += strategy.explain()
            if len(game.records) > 20:
                assert all(record.state.final for record in game.records[:20])
        rates = [[math.log10(float(r.params["learning_rate"])) for r in part] for part in _halves(game.records)]
        assert max(rates[1]) - min(rates[1]) < 0.7 * (max(rates[0]) - min(rates[0]))
        assert any(line.startswith("round 2 of 2") for line in lines)
        assert any("learning_rate" in line and "zoomed to" in line and "the best" in line for line in lines)
        assert len(game.records) == 40

    @pytest.mark.slow
    def test_trials_of_a_round_that_is_over_are_given_up(self) -> None:
        game = Game(quality, direction=Direction.MAXIMIZE)
        game.play(open_strategy(sweep(trials=40, refine=1), CONTINUOUS, Direction.MAXIMIZE))
        pruned = [r for r in game.records[:20] if r.state is TrialState.PRUNED]
        assert pruned
        assert all(r.reason.startswith("round 1 ended") and r.epochs < EPOCHS for r in pruned)


def _halves(records: list) -> tuple[list, list]:  # type: ignore[type-arg]
    return records[: len(records) // 2], records[len(records) // 2 :]


@pytest.mark.parametrize(
    ("winners", "low", "high"),
    [((3.0, 5.0, 7.0), 2.0, 8.0), ((5.0, 5.0, 5.0), 3.5, 6.5), ((0.5, 3.0, 9.5), 0.0, 10.0)],
)
def test_a_range_keeps_a_tenth_beside_its_winners_and_three_tenths_in_all(
    winners: tuple[float, ...], low: float, high: float
) -> None:
    wide = Dimension(name="rate", kind="float", tier=1, default=winners[0], low=0.0, high=10.0)
    space, _ = zoomed_space(Space((wide,)), [{"rate": winner} for winner in winners])
    assert (space["rate"].low, space["rate"].high) == pytest.approx((low, high))


def test_bounds_of_momentum_are_rounded_outwards() -> None:
    (change,) = zoom(Space((SPACE["momentum"],)), [{"momentum": 0.9 + 0.003 * k} for k in range(5)])
    old, new = SPACE["momentum"], change.dimension
    units = [old.to_unit(0.9 + 0.003 * k) for k in (0, 4)]
    middle, half = sum(units) / 2, max(0.15, (units[1] - units[0]) / 2 + 0.1)
    exact = (1 - float(old.from_unit(middle + side * half)) for side in (-1, 1))
    for distance, bound, outwards in zip(exact, (new.low, new.high), (1, -1), strict=True):
        rounded = 1 - bound
        assert f"{rounded:.2g}" == f"{rounded:.6g}"
        assert 0 < outwards * (rounded - distance) < 0.1 * distance


def test_a_round_is_over_only_when_nothing_of_it_is_left_to_do() -> None:
    game = Game(quality, direction=Direction.MAXIMIZE)
    spec = sweep(trials=8, refine=1)
    spec = spec.model_copy(update={"search": spec.search.model_copy(update={"strategy": "random", "pruner": "asha"})})
    game.play(open_strategy(spec, CONTINUOUS, Direction.MAXIMIZE))
    assert len(game.records) == 8
    assert not any(r.reason.startswith("round") for r in game.records)


def test_one_choice_keeps_its_neighbours_and_no_more() -> None:
    (change,) = zoom(Space((SPACE["batch_size"],)), [{"batch_size": 64}] * 5)
    assert change.dimension.choices == (32, 64, 128)
    (change,) = zoom(Space((SPACE["batch_size"],)), [{"batch_size": 128}] * 5)
    assert change.dimension.choices == (64, 128, 256)


def test_the_reason_names_the_winners_range() -> None:
    rates = (0.02, 0.03, 0.04, 0.05, 0.06)
    (change,) = zoom(Space((SPACE["learning_rate"],)), [{"learning_rate": rate} for rate in rates])
    assert "the best 5 trials lie at 0.02 to 0.06" in change.reason


def test_winners_at_a_bound_keep_it() -> None:
    (layers,) = zoom(Space((SPACE["hidden_layers"],)), [{"hidden_layers": 1 + k % 2} for k in range(5)])
    assert layers.dimension.low == 1
    (rate,) = zoom(Space((SPACE["learning_rate"],)), [{"learning_rate": 1e-4 * 1.2**k} for k in range(5)])
    assert rate.dimension.low == 1e-4
