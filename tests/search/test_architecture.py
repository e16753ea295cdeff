"""Other architectures are tried when larger networks and regularisation were not enough, and each in turn."""

from __future__ import annotations

import pytest

from tests.contracts.strategy_contract import EPOCHS, Game, quality
from tests.search.test_priority import labels, played
from tuner.records import Direction, Params
from tuner.search.registry import open_strategy
from tuner.spec.defaults import build_space
from tuner.spec.model import DataSpec, ModelSpec, SearchSpec, SweepSpec, TrainingSpec
from tuner.spec.space import Dimension, Space

pytestmark = pytest.mark.slow
SPACE = Space(
    (
        Dimension(name="learning_rate", kind="float", tier=1, default=0.01, low=1e-4, high=1.0, scale="log"),
        Dimension(name="hidden_units", kind="int", tier=2, default=64, low=8, high=256, scale="log"),
        Dimension(name="weight_decay", kind="float", tier=4, default=1e-4, low=1e-6, high=1e-1, scale="log"),
        Dimension(name="model", kind="categorical", tier=5, default="mlp", choices=("mlp", "cnn", "resnet")),
        Dimension(
            name="channels", kind="int", tier=5, default=16, low=8, high=64, when={"model": ("cnn", "resnet")},
        ),
    )
)  # fmt: skip
WITHOUT_REGULARISATION = Space(tuple(d for d in SPACE if d.tier != 4))


def better_with_resnet(params: Params, epoch: int) -> float:
    return quality(params, epoch) + (0.03 if params["model"] == "resnet" else 0.0)


@pytest.mark.parametrize("workers", [1, 3])
def test_variance_that_regularisation_has_not_mended_opens_them(workers: int) -> None:
    game, lines = played(curve=better_with_resnet, space=SPACE, gap=0.3, noise=0.01, trials=30, workers=workers)
    opened = labels(game).index("architecture")
    assert {record.params["model"] for record in game.records[:opened]} == {"mlp"}
    assert labels(game).index("regularisation") < opened
    assert 15 <= opened < 22
    tried = [record for record in game.records if record.tier == "architecture"]
    assert [record.params["model"] for record in tried] == ["cnn", "resnet", "cnn"]
    assert len({record.params["channels"] for record in tried}) == 3
    (said,) = [line for line in lines if line.startswith("other architectures open (model, channels)")]
    assert "with regularisation, dev is still 0.3 worse than train" in said
    best = max(game.records, key=lambda record: record.value or 0.0)
    assert best.params["model"] == "resnet"


def test_bias_that_larger_networks_have_not_mended_opens_them() -> None:
    game, lines = played(curve=better_with_resnet, space=SPACE, gap=0.0, noise=0.01, trials=30)
    assert 15 <= labels(game).index("architecture") < 22
    assert "regularisation" not in labels(game)
    assert any(
        "other architectures open" in line and "the best still show bias (train error " in line for line in lines
    )


def test_without_a_regularisation_tier_there_is_nothing_to_wait_for() -> None:
    _, lines = played(curve=better_with_resnet, space=WITHOUT_REGULARISATION, gap=0.3, noise=0.01, trials=20)
    assert any("there is no regularisation to search" in line for line in lines)


def test_what_was_asked_for_is_tried_at_the_latest_when_three_quarters_are_spent() -> None:
    """Where nothing shows beyond the noise."""
    game, lines = played(curve=better_with_resnet, space=SPACE, gap=0.0, noise=0.4, trials=20)
    assert labels(game).index("architecture") == 15
    assert any("15 of 20 trials are spent" in line for line in lines)


def test_always_opens_them_with_the_others() -> None:
    game, _ = played(curve=better_with_resnet, space=SPACE, trials=24, regularisation="always")
    assert labels(game).index("architecture") < 12
    assert {record.params["model"] for record in game.records[:14]} > {"mlp"}


@pytest.mark.parametrize("strategy", ["staged", "random", "tpe"])
def test_other_strategies_search_them_too(strategy: str) -> None:
    spec = SweepSpec(
        study="s", data=DataSpec(source="x"), model=ModelSpec(kind="mlp", choices=["mlp", "cnn"]),
        training=TrainingSpec(epochs=EPOCHS), search=SearchSpec(trials=30, strategy=strategy),
    )  # fmt: skip
    space = build_space(spec)
    chosen = open_strategy(spec, space, Direction.MAXIMIZE)
    game = Game(quality, direction=Direction.MAXIMIZE)
    while game.step(chosen, workers=1):
        pass
    assert {record.params["model"] for record in game.records} == {"mlp", "cnn"}
    assert all(space.contains(record.params) for record in game.records)
