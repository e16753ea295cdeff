"""A guess of the user's: what is tried first, and what it takes the place of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.contracts.strategy_contract import EPOCHS, Game, quality
from tuner.errors import SweepFileError
from tuner.records import Direction
from tuner.search.registry import open_strategy
from tuner.spec.defaults import build_space
from tuner.spec.model import SweepSpec
from tuner.spec.reader import read_sweep


def begun(space: dict[str, Any], *, num: int = 3, **search: Any) -> list[tuple[str, Any, Any]]:
    """The tier, learning rate and momentum of the first trials."""
    blocks = {"study": "s", "data": {"source": "sklearn/digits"}, "training": {"epochs": EPOCHS}}
    spec = SweepSpec.model_validate({**blocks, "space": space, "search": {"trials": 40, **search}})
    game = Game(quality, direction=Direction.MAXIMIZE)
    strategy = open_strategy(spec, build_space(spec), Direction.MAXIMIZE)
    while len(game.records) < num:
        game.step(strategy, workers=1)
    return [(r.tier, r.params["learning_rate"], r.params["momentum"]) for r in game.records[:num]]


def guess(value: float, **more: str) -> dict[str, Any]:
    return {"low": 1e-4, "high": 1.0, "guess": value, **more}


@pytest.mark.parametrize("more", [{}, {"sure": "little"}])
def test_a_guess_is_tried_first_and_the_defaults_stay(more: dict[str, str]) -> None:
    first = begun({"learning_rate": guess(0.2, **more), "momentum": {}})
    assert first[:2] == [("start", 0.2, 0.9), ("default", 0.01, 0.9)]
    both = begun({"learning_rate": guess(0.2), "momentum": {"guess": 0.8}})
    assert both[:2] == [("start", 0.2, 0.8), ("default", 0.01, 0.9)]


def test_a_sure_guess_takes_the_place_of_the_default() -> None:
    first = begun({"learning_rate": guess(0.2, sure="much"), "momentum": {}}, num=1)
    assert first == [("default", 0.2, 0.9)]
    mixed = begun({"learning_rate": guess(0.2, sure="much"), "momentum": {"guess": 0.8}})
    assert mixed[:2] == [("start", 0.2, 0.8), ("default", 0.2, 0.9)]


def test_a_guess_that_is_the_default_is_tried_once_and_other_strategies_try_it_too() -> None:
    assert begun({"learning_rate": guess(0.01), "momentum": {}}, num=1) == [("default", 0.01, 0.9)]
    for sure in ("little", "much"):
        first = begun({"learning_rate": guess(0.2, sure=sure), "momentum": {}}, num=1, strategy="random")
        assert first == [("start", 0.2, 0.9)]


def written(folder: Path, entry: str) -> Path:
    file = folder / "s.yaml"
    file.write_text(f"study: s\ndata: {{source: sklearn/digits}}\nspace:\n  learning_rate: {{{entry}}}\n")
    return file


def test_a_guess_outside_is_an_error_and_sureness_of_nothing_a_warning(tmp_path: Path) -> None:
    with pytest.raises(SweepFileError, match=r"space\.learning_rate\.guess: must"):
        read_sweep(written(tmp_path, "low: 1e-4, high: 1, guess: 3"))
    with pytest.raises(SweepFileError, match="default: has no effect beside a guess with `sure: much`"):
        read_sweep(written(tmp_path, "guess: 0.1, sure: much, default: 0.2"))
    with pytest.raises(SweepFileError, match="sure"):
        read_sweep(written(tmp_path, "guess: 0.1, sure: very"))
    (warning,) = read_sweep(written(tmp_path, "sure: much")).warnings
    assert "has no effect without `guess`" in str(warning)
