"""The same examples for every contestant, without tuner: Ray's environment does not have it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor


@dataclass(frozen=True)
class Examples:
    """One part of the data."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Info:
    """What a network must know."""

    num_outputs: int


@dataclass(frozen=True)
class Arrays:
    """Looks like `tuner.data.dataset.TrainingData` to `baselines.py`."""

    train: Examples
    dev: Examples
    info: Info


def load(path: Path) -> Arrays:
    """Read what `time_to_target.py` has written."""
    saved = torch.load(path, weights_only=True)
    train, dev = (Examples(saved[f"{part}_inputs"], saved[f"{part}_targets"]) for part in ("train", "dev"))
    return Arrays(train, dev, Info(int(saved["num_outputs"])))
