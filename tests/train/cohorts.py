"""Helpers of the training tests: a small real data set, and curves of jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_digits

from tuner.data.dataset import DataInfo, Split, TrainingData
from tuner.records import Direction, EpochResult, EpochsFinished, Params, TrialEvent, TrialJob
from tuner.spec.model import DataSpec, EarlyStoppingSpec, ModelSpec, SweepSpec, TrainingSpec
from tuner.train.loop.cohort import Cohort
from tuner.train.loop.early_stopping import kept_of
from tuner.train.task import Task


@lru_cache(maxsize=2)
def digits(num_train: int = 300, num_dev: int = 100) -> TrainingData:
    inputs, targets = load_digits(return_X_y=True)
    inputs = ((inputs - 5.0) / 6.0).astype(np.float32).reshape(-1, 1, 8, 8)
    x, y = torch.from_numpy(inputs), torch.from_numpy(targets).long()
    info = DataInfo(
        task="classification", input_shape=(1, 8, 8), num_outputs=10, num_train=num_train, num_dev=num_dev, num_test=0
    )
    end = num_train + num_dev
    return TrainingData(Split(x[:num_train], y[:num_train]), Split(x[num_train:end], y[num_train:end]), info)


@lru_cache(maxsize=1)
def diabetes() -> TrainingData:
    inputs, targets = load_diabetes(return_X_y=True)
    x = torch.from_numpy((inputs / inputs.std(0)).astype(np.float32))
    mean, std = float(targets.mean()), float(targets.std())
    y = torch.from_numpy(((targets - mean) / std).astype(np.float32)).unsqueeze(1)
    info = DataInfo(
        task="regression", input_shape=(10,), num_outputs=1, num_train=300, num_dev=142, num_test=0,
        target_mean=(mean,), target_std=(std,),
    )  # fmt: skip
    return TrainingData(Split(x[:300], y[:300]), Split(x[300:], y[300:]), info)


@lru_cache(maxsize=1)
def labelled_digits() -> TrainingData:
    """Digits with three labels: even, prime, and above five."""
    data = digits()
    sets = [(0, 2, 4, 6, 8), (2, 3, 5, 7), (6, 7, 8, 9)]

    def labels(split: Split) -> Split:
        columns = [torch.isin(split.targets, torch.tensor(members)).float() for members in sets]
        return Split(split.inputs, torch.stack(columns, dim=1))

    names = ("even", "prime", "large")
    info = replace(data.info, task="multi_label", num_outputs=3, class_names=names, target_names=names)
    return TrainingData(labels(data.train), labels(data.dev), info)


def make_spec(
    *, model: str = "mlp", settings: Mapping[str, object] | None = None, root: str = ".", **training: object
) -> SweepSpec:
    return SweepSpec(
        study="test",
        data=DataSpec(source="sklearn/digits"),
        model=ModelSpec(kind=model, settings=dict(settings or {})),  # type: ignore[arg-type]
        training=TrainingSpec(**{"epochs": 3, **training}),  # type: ignore[arg-type]
        root=root,
    )


def make_task(data: TrainingData | None = None, *, device: str = "cpu", **spec: object) -> Task:
    return Task(make_spec(**spec), data or digits(), torch.device(device))  # type: ignore[arg-type]


def jobs(folder: Path, configurations: Sequence[Params], *, to_epoch: int = 3) -> list[TrialJob]:
    return [
        TrialJob(trial=i, params=params, seed=1000 + i, to_epoch=to_epoch, folder=str(folder / f"{i:04d}"))
        for i, params in enumerate(configurations)
    ]


def run_cohort(task: Task, members: Sequence[TrialJob]) -> list[TrialEvent]:
    cohort = Cohort(task, members, worker="test")
    return [event for events in cohort.epochs() for event in events]


def curves(events: Sequence[TrialEvent]) -> dict[int, list[EpochResult]]:
    found: dict[int, list[EpochResult]] = {}
    for event in events:
        if isinstance(event, EpochsFinished):
            found.setdefault(event.trial, []).extend(event.results)
    return found


def best_of(curve: Sequence[EpochResult], *, rule: EarlyStoppingSpec | None = None) -> EpochResult | None:
    """The epoch that is kept of a curve whose metric is the better the larger it is."""
    return kept_of(curve, direction=Direction.MAXIMIZE, rule=rule)


def figures(curve: Sequence[EpochResult]) -> list[tuple[float, ...]]:
    """A curve without its clock: what must be equal bit for bit."""
    return [(r.epoch, r.train_loss, r.dev_loss, r.train_metric, r.dev_metric, r.learning_rate) for r in curve]
