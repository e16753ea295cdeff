"""Scoring stored weights again: the check that an exported network is the one that was ranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tuner.data.dataset import Split
from tuner.data.load import load_training_data
from tuner.diagnose.intervals import auroc_interval, wilson_interval
from tuner.models.ensemble import load_network
from tuner.models.generators import seed_generators
from tuner.models.packed import trained_weights
from tuner.records import Json, Params, TrialJob
from tuner.spec.defaults import settings_for
from tuner.spec.model import SweepSpec
from tuner.train.measure.metrics import Scores
from tuner.train.program import copied_chunks
from tuner.train.task import Task

PREDICTION_TOLERANCE = 1e-4
"""Difference of dev predictions, as a share of the largest, that another way to compute them explains."""


@dataclass(frozen=True, slots=True, eq=False)
class Rescored:
    """Stored weights on the dev set."""

    loss: float
    metric: float
    predictions: NDArray[np.float32]
    """As `predictions.npy` holds them."""

    def agrees_with(self, path: Path) -> bool:
        """Whether a trial's stored predictions are these, but for rounding; a file that is not there says nothing."""
        try:
            with path.open("rb") as file:
                stored = np.lib.format.read_array(file, allow_pickle=False)
        except (OSError, ValueError, EOFError, MemoryError, OverflowError, SyntaxError):  # damaged, or forged
            return False
        if stored.shape != self.predictions.shape:
            return False
        return bool(np.abs(stored - self.predictions).max() <= PREDICTION_TOLERANCE * np.abs(stored).max())


@torch.no_grad()
def outputs_of(task: Task, params: Params, weights: Mapping[str, Tensor], split: Split, *, seed: int) -> Tensor:
    """The outputs of a trial's plain module with these weights, shape (examples, outputs); of its folds the mean."""
    module = load_network(task.spec, settings_for(task.spec, params), task.info, weights, seed=seed).to(task.device)
    seed_generators(seed, "evaluation", device=task.device)
    outputs = [module(chunk.to(task.device)) for chunk in copied_chunks(split.inputs)]
    return torch.cat(outputs).view(len(split), task.info.num_outputs)


def score(task: Task, outputs: Tensor, split: Split) -> Scores:
    """Loss and metric of outputs on a split; one value each."""
    return task.scorer(split.targets)(outputs.unsqueeze(0))


def evaluate_weights(
    spec: SweepSpec, params: Params, weights_path: Path, *, seed: int = 0, known: Mapping[str, Json] | None = None
) -> Rescored:
    """What the weights in a file score on the dev set, by the plain module, however they were trained.

    Args:
        spec: The sweep file.
        params: Of the trial.
        weights_path: Its weights.
        seed: Of the trial; a module that draws in evaluation draws as it did then.
        known: The facts of the data that the study was trained on, which these are to be.

    Raises:
        StudyMismatchError: they are not.
        StorageError: the file is damaged, or its tensors are not those of the network that the parameters describe.
    """
    torch.set_num_threads(1)
    task = Task(spec, load_training_data(spec, known=known), torch.device("cpu"))
    job = TrialJob(trial=0, params=params, seed=seed, to_epoch=0, folder="")
    with trained_weights(weights_path) as weights:
        outputs = task.dev_outputs(task.member(job), weights)
    scores = task.dev_scores(outputs)
    loss, metric = float(np.mean([s.loss for s in scores])), float(np.mean([s.metric for s in scores]))
    return Rescored(loss, metric, task.predictions(outputs).numpy())


def resampled_interval(
    task: Task, outputs: Tensor, targets: Tensor, *, value: float, resamples: int
) -> tuple[float, float]:
    """A 95 % interval of the metric of these outputs: Wilson's for accuracy, Newcombe's for AUROC, else percentiles.

    Args:
        task: Says the metric.
        outputs: (examples, outputs).
        targets: Of the same examples.
        value: The metric of all of them.
        resamples: Bootstrap samples.
    """
    count = len(targets)
    if task.metric.name in ("accuracy", "subset_accuracy"):
        interval = wilson_interval(value, count)
        return interval.low, interval.high
    draw = torch.Generator().manual_seed(0)
    found = []
    for _ in range(resamples):
        chosen = torch.randint(count, (count,), generator=draw)
        found.append(float(task.scorer(targets[chosen])(outputs[chosen].unsqueeze(0)).metric[0]))
    if task.metric.name == "auroc" and targets.dim() == 1:
        counts = torch.bincount(targets, minlength=task.info.num_outputs).tolist()
        interval = auroc_interval(value, class_counts=counts, variance=float(np.nanvar(found)))
        return interval.low, interval.high
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)
