"""What training sees of a data set: two splits and their facts. There is no test split here, on purpose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Task = Literal["classification", "regression"]


@dataclass(frozen=True, slots=True)
class Split:
    """Examples, resident as tensors.

    `inputs` is float32 of shape (examples, *input_shape); `targets` is int64 of shape (examples,) for
    classification and float32 of shape (examples, outputs) for regression, where each target has zero mean and
    unit variance over the training examples: multiply by `DataInfo.target_std` and add `DataInfo.target_mean` to
    come back to the target's own units.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def to(self, device: torch.device | str) -> Split:
        return Split(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True, kw_only=True, slots=True)
class DataInfo:
    """Facts about a data set that models, reports and the diagnosis need."""

    task: Task
    input_shape: tuple[int, ...]
    """Of one example: (features,), or (channels, height, width)."""
    num_outputs: int
    """Classes, or regression targets."""
    num_train: int
    num_dev: int
    num_test: int
    """Examples set aside for `tuner test`; they are counted, never loaded into a `TrainingData`."""
    class_names: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    target_names: tuple[str, ...] = ()
    target_mean: tuple[float, ...] = ()
    """Of each regression target over the training examples, in its own units; empty for classification."""
    target_std: tuple[float, ...] = ()
    """Of each regression target over the training examples, in its own units; empty for classification."""
    dev_in_train: int = 0
    """Dev examples whose inputs equal those of a training example."""
    test_in_train: int = 0
    """Test examples whose inputs equal those of a training example."""
    test_in_dev: int = 0
    """Test examples whose inputs equal those of a dev example."""
    sha256: str = ""
    """Of the train and dev examples as read and split, before normalisation, so that a study notices when its data
    changes; the same on every machine."""
    notes: tuple[str, ...] = ()
    """What the preparation did that a user should know: filled values, dropped rows, overlaps, imbalance."""


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The examples that `tuner run` may see."""

    train: Split
    dev: Split
    info: DataInfo
