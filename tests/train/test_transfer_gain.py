"""That the transfer sweeps which we ship show what they are there to show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.cohorts import curves, run_cohort
from tuner.data.load import load_training_data
from tuner.records import TrialJob
from tuner.spec.model import SweepSpec
from tuner.spec.reader import read_sweep
from tuner.train.task import Task

SWEEPS = Path(__file__).parents[2] / "sweeps"
SEEDS = range(4)
LEARNING_RATES = (0.01, 0.02)


def train(spec: SweepSpec, folder: Path, jobs: list[tuple[float, int]], *, epochs: int) -> list[float]:
    """The best dev accuracy of each (learning rate, seed)."""
    task = Task(spec, load_training_data(spec), torch.device("cpu"))
    found = curves(
        run_cohort(
            task,
            [
                TrialJob(
                    trial=i, params={"learning_rate": rate}, seed=seed, to_epoch=epochs, folder=str(folder / str(i))
                )
                for i, (rate, seed) in enumerate(jobs)
            ],
        )
    )
    return [max(epoch.dev_metric for epoch in found[i]) for i in range(len(jobs))]


@pytest.mark.deep
def test_the_shipped_sweeps_gain_over_a_start_from_scratch(tmp_path: Path) -> None:
    """Paired by seed, each way at the better of two learning rates, on the same examples."""
    earlier, transfer, scratch = (read_sweep(SWEEPS / f"{n}.yaml").spec for n in ("pretrain", "transfer", "scratch"))
    earlier = earlier.model_copy(update={"training": earlier.training.model_copy(update={"epochs": 5})})
    train(earlier, tmp_path, [(0.003, 0)], epochs=5)
    start = str(tmp_path / "0" / "weights.pt")
    transfer = transfer.model_copy(update={"model": transfer.model.model_copy(update={"init_from": start})})
    jobs = [(rate, seed) for seed in SEEDS for rate in LEARNING_RATES]
    scores = {
        spec.study: np.reshape(train(spec, tmp_path / spec.study, jobs, epochs=20), (len(SEEDS), -1)).max(axis=1)
        for spec in (transfer, scratch)
    }
    gains = scores["transfer"] - scores["scratch"]
    assert gains.mean() > 0.04, gains
    assert np.count_nonzero(gains > 0) >= len(SEEDS) - 1, gains
