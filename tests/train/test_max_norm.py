"""The limit on the norm of each unit's weights, in all ways to train."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.train.cohorts import jobs, make_task, run_cohort
from tuner.records import Params

LIMIT = 0.6


def longest(folder: Path) -> float:
    """The longest incoming weights of any unit in the weights that a trial left."""
    weights = torch.load(folder / "weights.pt", weights_only=True)
    return max(float(w.flatten(1).norm(dim=1).max()) for w in weights.values() if w.dim() > 1)


@pytest.mark.slow
@pytest.mark.parametrize("fuse", ["auto", "off"])
@pytest.mark.parametrize(
    ("model", "settings"),
    [("mlp", {}), ("cnn", {"channels": 4, "hidden_units": 16}), ("tests/train/user_modules.py:two_layers", {})],
)
def test_no_unit_has_longer_weights_than_the_limit(
    model: str, settings: dict[str, object], fuse: str, tmp_path: Path
) -> None:
    task = make_task(model=model, settings=settings, fuse=fuse, learning_rate=0.1)
    configurations: list[Params] = [{"max_norm": LIMIT}, {}]
    run_cohort(task, jobs(tmp_path, configurations, to_epoch=3))
    assert longest(tmp_path / "0000") <= LIMIT * (1 + 1e-5)
    assert longest(tmp_path / "0001") > LIMIT
