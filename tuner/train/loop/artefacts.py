"""The files that a trial leaves behind, each written beside and renamed, so that a reader never sees half of one."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from operator import attrgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tuner.models.packed import save_weights
from tuner.paths import TrialPaths, beside, own_place
from tuner.records import EpochResult
from tuner.train.loop.storing import storing

_COLUMNS = tuple(f.name for f in fields(EpochResult))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` when the block ends well; the folder is made if it is missing."""
    temporary = beside(path)
    try:
        with storing(path):
            own_place(path).parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_curve(paths: TrialPaths, curve: Sequence[EpochResult]) -> None:
    """The curve over epochs as CSV."""
    with replacing(paths.curve) as path, path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(map(attrgetter(*_COLUMNS), curve))


def write_weights(paths: TrialPaths, weights: Mapping[str, Tensor]) -> None:
    """A state dict; load it with `torch.load(path, weights_only=True)`."""
    with replacing(paths.weights) as path:
        save_weights(weights, path)


def write_samples(samples: NDArray[np.float64], to: Path) -> None:
    """A metric on resamples of the dev set, as NPY."""
    with replacing(to) as path, path.open("wb") as file:
        np.save(file, samples)


def write_predictions(predictions: Tensor, to: Path) -> None:
    """Dev predictions, shape (dev examples, outputs), as NPY."""
    values = predictions.cpu().numpy().astype(np.float32)
    with replacing(to) as path, path.open("wb") as file:
        np.save(file, values)
