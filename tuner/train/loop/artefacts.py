"""The files that a trial leaves behind, each written beside and renamed, so that a reader never sees half of one."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from operator import attrgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tuner.errors import StorageError
from tuner.models.packed import save_weights
from tuner.paths import LinkInStudyError, TrialPaths, beside, own_place
from tuner.records import EpochResult

_NO_ROOM_BYTES = 2**20
"""A disk with less room than this is full."""

_REMEDY = "make that possible and run again: trials go on from their checkpoints"
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


@contextmanager
def storing(path: Path, *, shown: str = "", remedy: str = _REMEDY) -> Iterator[None]:
    """Within the block a file is written. That the disk takes it is no matter of the trial's.

    Args:
        path: The file, or a folder.
        shown: What it is called in messages; its path unless given.
        remedy: What to do.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):  # torch's writer of files
            raise
        if isinstance(error, LinkInStudyError):
            raise StorageError(str(error)) from error
        folder = next(folder for folder in path.parents if folder.exists())
        cause = "disk full" if shutil.disk_usage(folder).free < _NO_ROOM_BYTES else str(error)
        raise StorageError(f"{shown or path} cannot be written: {cause}; {remedy}") from error


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
