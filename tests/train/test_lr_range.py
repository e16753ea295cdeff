"""The range test on real networks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from tests.train.cohorts import jobs, make_task
from tuner.diagnose.lr_range import suggest
from tuner.train.before.lr_range import HOPELESS, range_test


@pytest.mark.slow
@pytest.mark.parametrize("fuse", ["auto", "off"])
def test_it_finds_a_rate_that_trains_and_stops_when_the_loss_explodes(fuse: str, tmp_path: Path) -> None:
    task = make_task(batch_size=32, fuse=fuse)
    points = range_test(task, jobs(tmp_path, [{}])[0], low=1e-5, high=100.0, steps=60)
    rates, losses = zip(*points, strict=True)
    assert all(b / a == pytest.approx(rates[1] / rates[0]) for a, b in pairwise(rates))
    assert losses[-1] > HOPELESS * losses[0]
    assert len(points) < 60
    found = suggest(rates, losses)
    assert found is not None
    assert 1e-3 < found.learning_rate < 0.5


@pytest.mark.slow
def test_a_network_that_cannot_learn_gets_no_suggestion(tmp_path: Path) -> None:
    task = make_task(init="zero", settings={"hidden_layers": 3})
    points = range_test(task, jobs(tmp_path, [{}])[0], low=1e-5, high=1.0, steps=30)
    assert suggest([r for r, _ in points], [loss for _, loss in points]) is None
