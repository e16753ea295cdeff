"""Made-up training: learning curves predicted by an ONNX surrogate, in place of real networks.

The surrogate (LCBench, from YAHPO Gym's data) takes a data set's code, an epoch and seven hyperparameters, and predicts
seconds so far and the validation accuracy in percent. It knows no training accuracy, so that is NaN.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from tuner.records import (
    EpochResult,
    EpochsFinished,
    Params,
    TrialEvent,
    TrialFinished,
    TrialJob,
    TrialPaused,
)
from tuner.spec.space import REGULARISATION_TIER, Dimension, Space

EPOCHS = 52
"""Of a full training: one full-training equivalent (FTE)."""

_COLUMNS = (
    "batch_size",
    "learning_rate",
    "momentum",
    "weight_decay",
    "hidden_layers",
    "hidden_units",
    "dropout",
)
"""The surrogate's inputs after the epoch, in its order, by our names."""

SPACE = Space(
    (
        Dimension(name="learning_rate", kind="float", tier=1, default=0.01, low=1e-4, high=0.1, scale="log"),
        Dimension(name="momentum", kind="float", tier=2, default=0.9, low=0.1, high=0.99, scale="log1m"),
        Dimension(name="batch_size", kind="int", tier=2, default=64, low=16, high=512, scale="log"),
        Dimension(name="hidden_units", kind="int", tier=2, default=256, low=64, high=1024, scale="log"),
        Dimension(name="hidden_layers", kind="int", tier=3, default=3, low=1, high=5),
        Dimension(
            name="weight_decay",
            kind="float",
            tier=REGULARISATION_TIER,
            default=1e-4,
            low=1e-5,
            high=0.1,
            scale="log",
        ),
        Dimension(name="dropout", kind="float", tier=REGULARISATION_TIER, default=0.2, low=0.0, high=1.0),
    )
)
"""Ranges of the surrogate, defaults by convention, tiers in Ng's order."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One data set of the surrogate."""

    name: str
    code: int
    best_known: float
    """Best known validation accuracy, in percent."""
    median_random: float
    """Validation accuracy of the median random configuration, in percent."""

    @property
    def spread(self) -> float:
        """What a regret of 1 is worth, in percent of accuracy."""
        return self.best_known - self.median_random

    def regret(self, accuracy: float) -> float:
        """Normalised regret of a validation accuracy in percent: 0 for the best known, 1 for a median random run."""
        return (self.best_known - accuracy) / self.spread


def read_instances(instances: Path, reference: Path) -> list[Instance]:
    """The data sets that both files know."""
    codes = json.loads(instances.read_text())
    known = json.loads(reference.read_text())
    return [
        Instance(
            name=name,
            code=code,
            best_known=known[name]["best_known"],
            median_random=known[name]["median_random_ng"],
        )
        for name, code in codes.items()
        if name in known
    ]


class Surrogate:
    """Predicts whole learning curves."""

    def __init__(self, folder: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def curve(self, instance: Instance, params: Params) -> tuple[EpochResult, ...]:
        """The results of all epochs; metrics are accuracies in 0..1."""
        (predicted,) = self.predicted(instance.code, [params])
        return tuple(
            EpochResult(
                epoch=epoch,
                train_loss=math.nan,
                dev_loss=float(row[2]),
                train_metric=math.nan,
                dev_metric=float(row[1]) / 100,
                learning_rate=float(params["learning_rate"]),
                seconds=float(row[0]),
            )
            for epoch, row in enumerate(predicted, start=1)
        )

    def predicted(self, code: int, configurations: Sequence[Params]) -> NDArray[np.float32]:
        """What the surrogate says of each epoch, shape (configurations, epochs, outputs)."""
        x_cont = np.empty((len(configurations), EPOCHS, 1 + len(_COLUMNS)), dtype=np.float32)
        x_cont[:, :, 0] = np.arange(1, EPOCHS + 1)
        x_cont[:, :, 1:] = np.array([[float(p[name]) for name in _COLUMNS] for p in configurations])[:, None]
        flat = x_cont.reshape(-1, 1 + len(_COLUMNS))
        x_cat = np.full((len(flat), 1), code, dtype=np.int32)
        found: NDArray[np.float32] = self._session.run(None, {"x_cat": x_cat, "x_cont": flat})[0]
        return found.reshape(len(configurations), EPOCHS, -1)


class Curves(Protocol):
    """What predicts learning curves."""

    def curve(self, instance: Instance, params: Params) -> tuple[EpochResult, ...]: ...


class SurrogateExecutor:
    """See `tuner.execute.executor.Executor`: workers on a clock of epochs, each epoch taking equally long."""

    def __init__(
        self,
        surrogate: Curves,
        instance: Instance,
        *,
        workers: int = 1,
        noise: float = 0.0,
        seed: int = 0,
        epochs: int = EPOCHS,
    ) -> None:
        """
        Args:
            surrogate: Predicts the curves.
            instance: The data set.
            workers: Trials trained at once.
            noise: Standard deviation of each trial's error, as a share of a regret of 1.
            seed: Of the noise.
            epochs: Of a full training.
        """
        self._surrogate = surrogate
        self._full = epochs
        self._instance = instance
        self._workers = workers
        self._noise = noise * instance.spread / 100
        self._seed = seed
        self._clock = 0
        self._running: dict[int, Progress] = {}
        self._curves: dict[int, tuple[EpochResult, ...]] = {}
        self._errors: dict[int, float] = {}
        self._epochs: dict[int, int] = {}
        self._log: list[tuple[int, int, int]] = []
        """(clock, trial, epoch) of every epoch."""

    def submit(self, jobs: Sequence[TrialJob]) -> None:
        for job in jobs:
            if job.trial not in self._curves:
                self._curves[job.trial] = self._surrogate.curve(self._instance, job.params)
                chance = np.random.default_rng([self._seed, job.trial, 2])
                self._errors[job.trial] = self._noise * float(chance.standard_normal())
            first = self._epochs.get(job.trial, 0)
            self._running[job.trial] = Progress(began=self._clock, first=first, last=min(job.to_epoch, self._full))

    def room(self) -> int:
        return self._workers - len(self._running)

    def events(self, timeout_seconds: float) -> list[TrialEvent]:
        """Turn the clock to where the next trials end."""
        if not self._running:
            return []
        self._clock = min(progress.ends for progress in self._running.values())
        events: list[TrialEvent] = []
        for trial, progress in list(self._running.items()):
            events += self._trained(trial, progress.epoch_at(self._clock))
            if progress.ends == self._clock:
                del self._running[trial]
                done = progress.last == self._full
                events.append(
                    TrialFinished(trial=trial, reason="all epochs")
                    if done
                    else TrialPaused(trial=trial, epoch=progress.last)
                )
        return events

    def interrupt(self) -> None:
        self._running = {}

    def close(self) -> None:
        self._running = {}

    def accuracy_of_pick(self, epochs: int, *, costs: Sequence[float] | None = None) -> float:
        """True accuracy, in percent, of what looks best after so many epochs of all trials together.

        Args:
            epochs: The budget.
            costs: What an epoch of each trial counts for; 1 if left out.
        """
        seen, true, left = -math.inf, math.nan, float(epochs)
        for _, trial, epoch in sorted(self._log):
            left -= 1.0 if costs is None else costs[trial]
            if left < 0:
                break
            value = self._curves[trial][epoch - 1].dev_metric
            if value + self._errors[trial] > seen:
                seen, true = value + self._errors[trial], value
        return 100 * true

    def _trained(self, trial: int, to_epoch: int) -> list[TrialEvent]:
        first = self._epochs.get(trial, 0)
        if to_epoch <= first:
            return []
        progress = self._running[trial]
        self._log += [(progress.began + e - progress.first, trial, e) for e in range(first + 1, to_epoch + 1)]
        self._epochs[trial] = to_epoch
        error = self._errors[trial]
        results = tuple(replace(r, dev_metric=r.dev_metric + error) for r in self._curves[trial][first:to_epoch])
        return [EpochsFinished(trial=trial, results=results)]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A job on the clock."""

    began: int
    first: int
    last: int

    @property
    def ends(self) -> int:
        return self.began + self.last - self.first

    def epoch_at(self, clock: int) -> int:
        return min(self.last, self.first + clock - self.began)
