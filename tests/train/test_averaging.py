"""The averages of weights: what they are, and that they are what is evaluated and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.cohorts import curves, digits, jobs, make_task, run_cohort
from tests.train.trials import settings_of
from tuner.train.program import EpochPlan
from tuner.train.rows.averaging import WeightAverage, new_shares

USER = "tests/train/user_modules.py:normed"


def plan_of_epoch(epoch: int, *, steps: int = 4) -> EpochPlan:
    numbers = (epoch * steps + np.arange(steps))[:, None]
    return EpochPlan(order_KN=torch.zeros(1, 1), learning_rate_SK=np.ones((steps, 1)), step_SK=numbers)


def test_swa_is_the_mean_over_the_ends_of_the_epochs_from_its_start() -> None:
    settings = settings_of(averaging="swa", swa_start=0.5, epochs=6)
    weights = torch.zeros(1, 3)
    average = WeightAverage([settings], lambda: {"w": weights})
    ends = []
    for epoch in range(6):
        shares_SK = average.shares(plan_of_epoch(epoch))
        for number in range(4):
            weights += 1.0 + epoch
            if average.is_due(number):
                average.update(shares_SK[number])
        ends.append(weights.clone())
        expected = ends[epoch] if epoch < 3 else torch.stack(ends[3:]).mean(dim=0)
        assert torch.allclose(average.tensors["w"], expected)


def test_ema_takes_the_first_weights_whole_and_then_decays() -> None:
    settings = settings_of(averaging="ema", ema_decay=0.9)
    shares = np.concatenate([new_shares(settings, np.arange(100) + 100 * epoch) for epoch in range(3)])
    assert shares[0] == 1.0
    assert (np.diff(shares) <= 1e-12).all()
    assert shares[-1] == pytest.approx(0.1)


def test_the_average_is_in_place_only_within_the_block() -> None:
    settings = settings_of(averaging="swa", swa_start=0.0)
    weights, count = torch.ones(1, 2), torch.tensor([3])
    average = WeightAverage([settings], lambda: {"w": weights, "count": count})
    weights.fill_(5.0)
    with average.in_place():
        assert weights.tolist() == [[1.0, 1.0]]
    assert weights.tolist() == [[5.0, 5.0]]
    assert set(average.tensors) == {"w"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ema", "swa"])
@pytest.mark.parametrize("fuse", ["auto", "off"])
@pytest.mark.parametrize("model", ["mlp", USER])
def test_the_kept_weights_are_those_that_were_evaluated(model: str, fuse: str, kind: str, tmp_path: Path) -> None:
    settings = {"norm": "batch"} if model == "mlp" else {}
    task = make_task(model=model, settings=settings, fuse=fuse, averaging=kind, ema_decay=0.95, swa_start=0.3, epochs=4)
    job = jobs(tmp_path, [{"learning_rate": 0.05}], to_epoch=4)[0]
    curve = curves(run_cohort(task, [job]))[0]
    best = min(curve, key=lambda r: (-r.dev_metric, r.epoch))
    weights = torch.load(tmp_path / "0000" / "weights.pt", weights_only=True)
    outputs = task.dev_outputs(task.member(job), weights)
    assert float(task.score_dev(outputs.unsqueeze(0)).loss[0]) == pytest.approx(best.dev_loss, rel=1e-5)


@pytest.mark.slow
def test_averaged_weights_are_better_where_a_large_rate_makes_them_jump(tmp_path: Path) -> None:
    losses = {}
    for kind in ("none", "ema"):
        task = make_task(digits(), averaging=kind, ema_decay=0.98, epochs=20, batch_size=8)
        found = curves(run_cohort(task, jobs(tmp_path / kind, [{"learning_rate": 0.1, "momentum": 0.5}], to_epoch=20)))
        losses[kind] = np.mean([r.dev_loss for r in found[0][5:]])
    assert losses["ema"] < losses["none"]
