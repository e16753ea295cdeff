"""What a trial is scored by: the metric of a sweep, and the evaluation of a cohort's outputs after each epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from tuner.errors import SweepFileError
from tuner.records import Direction
from tuner.spec.known.metrics import METRICS, Metric
from tuner.spec.objectives import measured_names
from tuner.spec.values import is_own
from tuner.train.measure import multi_label, scoring
from tuner.train.measure.scoring import Floats

if TYPE_CHECKING:  # torch is not loaded by those who only ask for a metric's name and direction
    from torch import Tensor

    from tuner.records import TaskKind
    from tuner.spec.model import ObjectiveSpec, SweepSpec, TrainingSpec

Loss = Literal["cross_entropy", "binary_cross_entropy", "mse"]


def resolve_metric(objective: ObjectiveSpec, *, task: TaskKind) -> Metric:
    """The metric of an objective; `auto` is accuracy for classification, f1 for labels and rmse for regression.

    Raises:
        SweepFileError: the metric is not one of this task.
    """
    if objective.metric == "auto":
        return METRICS[{"classification": "accuracy", "multi_label": "f1", "regression": "rmse"}[task]]
    if is_own(objective.metric):
        assert objective.direction is not None  # the sweep file was checked
        name = objective.metric.rpartition(":")[2]
        return Metric(f"own_{name}" if name in METRICS else name, Direction(objective.direction), (task,))
    metric = METRICS[objective.metric]
    if task not in metric.tasks:
        fitting = ", ".join(m.name for m in METRICS.values() if task in m.tasks)
        named = task.replace("_", "-")
        raise SweepFileError(
            [f"objective.metric: {metric.name} cannot be measured for {named}, which the data is; use one of {fitting}"]
        )
    return metric


def check_measured(spec: SweepSpec, *, task: TaskKind) -> None:
    """Make sure that further objectives and constraints can be measured.

    Raises:
        SweepFileError: a metric is not one of this task.
    """
    for name in measured_names(spec):
        if name in METRICS and task not in METRICS[name].tasks:
            raise SweepFileError([f"metric {name} cannot be measured for {task}, which the data is"])


def resolve_loss(training: TrainingSpec, *, task: TaskKind) -> Loss:
    """The loss that networks are trained on; `auto` is cross entropy for classes and labels, and mse for regression.

    Raises:
        SweepFileError: the loss is not one of this task.
    """
    losses: dict[TaskKind, Loss] = {
        "classification": "cross_entropy",
        "multi_label": "binary_cross_entropy",
        "regression": "mse",
    }
    fitting = losses[task]
    if training.loss not in ("auto", fitting) and not is_own(training.loss):
        raise SweepFileError([f"training.loss: {training.loss} does not fit {task}, which the data is; use {fitting}"])
    return fitting


class Scores(NamedTuple):
    """One number for each trial of a cohort, float64 of shape (K,). NaN outputs give NaN scores."""

    loss: Floats
    metric: Floats


class Evaluation:
    """Scores the outputs of any number of trials on one split; made once, called after each epoch."""

    def __init__(
        self, targets: Tensor, *, loss: Loss, metric: Metric, target_std: Sequence[float] = (),
        target_mean: Sequence[float] = (),
    ) -> None:  # fmt: skip
        """Keep the targets at hand.

        Args:
            targets: Of the split: classes (examples,), labels, or standardised regression targets (examples, outputs).
            loss: What networks are trained on.
            metric: What they are compared by.
            target_std: `DataInfo.target_std`, which gives an RMSE its units; needed for regression.
            target_mean: `DataInfo.target_mean`; needed for errors in percent.
        """
        assert len(targets), "a split has at least one example"
        self.loss = loss
        self.metric = metric
        self._targets = targets
        self._targets_array = targets.cpu().numpy()
        self._std_T = np.asarray(target_std, dtype=np.float64)
        self._mean_T = np.asarray(target_mean, dtype=np.float64)
        self._std: Tensor | None = None
        """The same on the device."""
        assert loss != "mse" or len(self._std_T) == targets.shape[1]

    def __call__(self, outputs: Tensor) -> Scores:
        """Score logits or predictions of shape (trials, examples, outputs), on any device."""
        outputs = outputs.detach().float()
        scores = self._on_device(outputs) if outputs.device.type == "cuda" else None
        return self._on_host(outputs.cpu().numpy()) if scores is None else scores

    def _on_device(self, z: Tensor) -> Scores | None:
        """None for a metric that is computed on the host alone."""
        import torch

        from tuner.train.measure.device_scoring import scores

        if self._std is None:
            self._std = torch.from_numpy(self._std_T).to(z.device)
        y = self._targets.to(z.device)
        found = scores(z, y, loss=self.loss, metric=self.metric.name, target_std=self._std)
        return None if found is None else Scores(*found.cpu().numpy())

    def _on_host(self, z: scoring.Outputs) -> Scores:
        y = self._targets_array
        hits = None
        if self.loss == "cross_entropy":
            loss, hits = scoring.cross_entropy_and_hits(z, y)
        elif self.loss == "binary_cross_entropy":
            loss = multi_label.binary_cross_entropy(z, y)
        else:
            loss = scoring.mean_squared_error(z, y)
        match self.metric.name:
            case "accuracy":
                assert hits is not None
                metric = hits
            case "loss":
                metric = loss.copy()
            case name if name in scoring.METRICS_IN_UNITS:
                metric = scoring.METRICS_IN_UNITS[name](z, y, std_T=self._std_T)
            case name if name in scoring.METRICS_OF_VALUES:
                metric = scoring.METRICS_OF_VALUES[name](z, y, std_T=self._std_T, mean_T=self._mean_T)
            case name:
                metric = (multi_label if self.loss == "binary_cross_entropy" else scoring).METRICS[name](z, y)
        return Scores(loss, np.where(np.isnan(loss), np.nan, metric))
