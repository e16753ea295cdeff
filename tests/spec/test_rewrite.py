"""Refined sweep files are sound, however often they are refined."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.depth import at_depth
from tuner.diagnose.bounds import winners_on_bounds
from tuner.search.wrap.zoom import zoom
from tuner.spec.defaults import build_space
from tuner.spec.edit.rewrite import rewrite_sweep
from tuner.spec.reader import parse_sweep
from tuner.spec.space import Space

SWEEP = """\
study: s  # the name
data: {source: sklearn/digits}
model: net.py:factory
space:
  # about the rate
  learning_rate: {low: 1e-4, high: 1.0}   # rate
  optimizer: {choices: [sgd, adam, rmsprop]}
  momentum: {low: 0.5, high: 0.99, when: {optimizer: [sgd, rmsprop]}}
  beta2:
    low: 0.9
    high: 0.9999
    when: {optimizer: [adam]}
  batch_size: {choices: [16, 32, full]}
  hidden_units: {tier: 2, choices: [16, 32, 64]}
  depth: {tier: 3, low: 2, high: 2}
  kernel: {low: 1, high: 9, step: 2, tier: 2, type: int}
  lr_decay: {low: 0, high: 0.5, step: 0.1}
  gate: {tier: 3, choices: [false, true]}
  # before dropout
  dropout: {low: 0.0, high: 0.9, default: 0.5}

training: {epochs: 8}
search: {trials: 40, start: [{learning_rate: 0.5, momentum: 0.99}], seed: 0} # last
"""
REMARKS = ("# the name", "# about the rate", "rate", "# before dropout", "# last")


def winners(space: Space, rng: random.Random) -> list[dict[str, object]]:
    """Configurations around one point, which may lie on bounds; near to each other, or all over the space."""
    spread = rng.choice([0.05, 0.2, 0.5, 1.0])
    centre = [rng.choice([0.0, rng.random(), 1.0]) for _ in space]
    return [space.from_units([unit + rng.uniform(-spread, spread) for unit in centre]) for _ in range(5)]


@pytest.mark.slow
@settings(max_examples=at_depth(25))
@given(st.randoms(use_true_random=False))
def test_three_times_refined_is_still_sound_and_holds_the_winner(rng: random.Random) -> None:
    text = SWEEP
    for _ in range(3):
        space = build_space(parse_sweep(text, name="f", root=Path())[0])
        best = winners(space, rng)
        beyond = {(found.name, found.side): found.suggestion for found in winners_on_bounds(best, space=space)}
        changes = zoom(space, best, beyond=beyond)
        text = rewrite_sweep(text, study="next", space=space, changes=changes, start=best[0])
    spec, _ = parse_sweep(text, name="f", root=Path())
    refined = build_space(spec)
    assert all(refined.contains(winner) for winner in best)
    assert spec.search.start[0].keys() == best[0].keys()
    assert all(remark in text for remark in REMARKS)
    assert all(line.count("the best 5 trials") <= 1 for line in text.splitlines())
