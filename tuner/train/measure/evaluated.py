"""The inputs that each trial is measured on: the dev examples, and behind them a sample of the training examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor

from tuner.data.dataset import TrainingData
from tuner.data.stored import is_streamed
from tuner.spec.known.metrics import num_train_measured

_MOST_STREAMED_SAMPLE = 2000
"""Training examples that a trial is scored on, at most, where the data stay on disk."""
_COPIED_BYTES = 1 << 23
"""Inputs of so many bytes are laid side by side once; more would be there twice."""


def train_sample(data: TrainingData) -> Tensor:
    """Positions of a fixed sample of the training examples, as many as there are for dev: enough to compare with."""
    size = num_train_measured(len(data.train), len(data.dev))
    if is_streamed(data.train.inputs):
        size = min(size, _MOST_STREAMED_SAMPLE)  # it is kept in memory
    chosen = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:size]
    return chosen.sort().values.to(data.train.inputs.device)


def inputs_side_by_side(dev: Tensor, train: Tensor, sample: Tensor) -> Tensor:
    """The dev inputs, and behind them those of the sample.

    Args:
        dev: (examples, ...).
        train: (training examples, ...).
        sample: Positions in `train`.

    Returns:
        A tensor, or for large inputs in the host's memory what stands for one where portions of it are taken.
    """
    example_bytes = 4 * dev.shape[1:].numel()
    if dev.device.type != "cpu" or (len(dev) + len(sample)) * example_bytes <= _COPIED_BYTES:
        return torch.cat([dev, train[sample]])
    return cast(Tensor, _Gathered(dev, lambda rows: train[sample[rows]], len(sample)))


class _Gathered:
    """Stands for inputs, of which portions are put together when they are asked for."""

    def __init__(self, dev: Tensor, of_sample: Callable[[slice], Tensor], num_sample: int) -> None:
        self._dev = dev
        self._of_sample = of_sample
        self.shape = torch.Size([len(dev) + num_sample, *dev.shape[1:]])
        self.device = dev.device

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Tensor:
        first, end, step = rows.indices(len(self))
        assert step == 1
        num_dev = len(self._dev)
        if end <= num_dev:
            return self._dev[first:end]
        of_sample = self._of_sample(slice(max(0, first - num_dev), end - num_dev))
        return of_sample if first >= num_dev else torch.cat([self._dev[first:], of_sample])
