"""Arrays that tell by their names what they are: `X` and `y`, `x_train` and `y_train`, `inputs` and `targets`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.content import Arrays, Contents
from tuner.errors import DataError
from tuner.spec.model import DataSpec

INPUT_NAMES = ("x", "inputs", "input", "data", "images", "features")
TARGET_NAMES = ("y", "targets", "target", "labels", "label", "classes")
PART_NAMES = {
    "train": ("train", "training"),
    "dev": ("dev", "val", "valid", "validation"),
    "test": ("test",),
}
"""What the three parts are called by others."""


def part_of(name: str) -> str | None:
    """`train`, `dev` or `test` if the name is one of theirs."""
    return next((part for part, names in PART_NAMES.items() if name.lower() in names), None)


def contents_from_names(arrays: Mapping[str, npt.NDArray[Any]], data: DataSpec, *, where: str) -> Contents:
    """Find inputs and targets, of all examples or of each part, among named arrays.

    Raises:
        DataError: there are none, or `target:` names none.
    """
    parts = {part: _without_suffix(arrays, part) for part in PART_NAMES}
    if not parts["train"]:
        return Contents(train=_content(arrays, data, where=where))
    return Contents(
        train=_content(parts["train"], data, where=f"{where} (train)"),
        dev=_content(parts["dev"], data, where=f"{where} (dev)") if parts["dev"] else None,
        test=_content(parts["test"], data, where=f"{where} (test)") if parts["test"] else None,
    )


def _without_suffix(arrays: Mapping[str, npt.NDArray[Any]], part: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays called `NAME_train`, `train_NAME` and the like, by their bare name."""
    found = {}
    for name, array in arrays.items():
        head, _, tail = name.partition("_")
        before, _, last = name.rpartition("_")
        if before and part_of(last) == part:
            found[before] = array
        elif tail and part_of(head) == part:
            found[tail] = array
    return found


def _content(arrays: Mapping[str, npt.NDArray[Any]], data: DataSpec, *, where: str) -> Arrays:
    wanted = (data.target,) if isinstance(data.target, str) else TARGET_NAMES
    inputs = name_of_inputs(arrays)
    targets = _first(arrays, wanted)
    known = ", ".join(f"{name} {np.shape(array)}" for name, array in arrays.items()) or "none"
    if targets is None:
        raise DataError(f"{where} has no array of targets ({' or '.join(wanted)}); there are {known}")
    if inputs is None:
        raise DataError(f"{where} has no array of inputs (X, inputs or data); there are {known}")
    return Arrays(
        inputs=arrays[inputs],
        targets=arrays[targets],
        where=where,
        columns={name: array for name, array in arrays.items() if name not in (inputs, targets)},
    )


def name_of_inputs(arrays: Mapping[str, npt.NDArray[Any]]) -> str | None:
    """The name of the array that is called as inputs are; None if there is none."""
    return _first(arrays, INPUT_NAMES)


def _first(arrays: Mapping[str, npt.NDArray[Any]], names: tuple[str, ...]) -> str | None:
    by_lower = {name.lower(): name for name in arrays}
    return next((by_lower[name.lower()] for name in names if name.lower() in by_lower), None)
