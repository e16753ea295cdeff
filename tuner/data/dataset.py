"""What training sees of a data set: two splits and their facts. There is no test split here, on purpose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tuner.data.groupings import Grouping
from tuner.records import DataInfo

__all__ = ["DataInfo", "Split", "TrainingData"]


@dataclass(frozen=True, slots=True)
class Split:
    """Examples, resident as tensors.

    `inputs` is float32 of shape (examples, *input_shape); `targets` is int64 of shape (examples,) for
    classification, float32 zeros and ones of shape (examples, labels) for multi-label data, and float32 of shape
    (examples, outputs) for regression, where each target has zero mean and unit variance over the training examples:
    multiply by `DataInfo.target_std` and add `DataInfo.target_mean` to come back to the target's own units.
    """

    inputs: Tensor
    targets: Tensor
    rows: npt.NDArray[np.int64] | None = None
    """Of each example the row that it was read from, from 1; None where that is not known."""
    groupings: tuple[Grouping, ...] = ()
    """The columns that scores are reported by."""

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def to(self, device: torch.device | str) -> Split:
        return Split(self.inputs.to(device), self.targets.to(device), self.rows, self.groupings)


@dataclass(frozen=True, slots=True)
class Fold:
    """Positions of a fold's train and dev examples in the pool; int64."""

    train: Tensor
    dev: Tensor
    train_dev: Tensor | None = None
    """Of those that are held out of its training examples, where later examples may be of another distribution."""

    def to(self, device: torch.device | str) -> Fold:
        held_out = None if self.train_dev is None else self.train_dev.to(device)
        return Fold(self.train.to(device), self.dev.to(device), held_out)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The examples that `tuner run` may see."""

    train: Split
    """With folds the pool, all examples that are not for the test."""
    dev: Split
    """With folds the dev examples of each, one fold behind the other."""
    info: DataInfo
    folds: tuple[Fold, ...] = ()
    """Of cross-validation, if the sweep file asks for it."""
    train_dev: Split | None = None
    """Examples of the training distribution that nothing is trained on, where the dev examples may be of another; with
    folds each has its own."""
