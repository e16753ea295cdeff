"""Inputs of a data set that is gone through once: kept in memory, or written to a temporary file as they come."""

from __future__ import annotations

import atexit
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


class Inputs:
    """In memory."""

    def __init__(self) -> None:
        self._arrays: list[npt.NDArray[Any]] = []

    def add(self, array: npt.NDArray[Any]) -> None:
        """Keep one more."""
        self._arrays.append(array)

    def array(self) -> npt.NDArray[Any]:
        """All of them, shape (examples, ...)."""
        return np.stack(self._arrays)


class SpooledInputs:
    """In a file in `TMPDIR`, which is removed when the process ends (after a kill it is left to the system)."""

    def __init__(self) -> None:
        number, name = tempfile.mkstemp(prefix="tuner-", suffix=".inputs")
        self._path = Path(name)
        atexit.register(self._path.unlink, missing_ok=True)
        self._file = os.fdopen(number, "wb")
        self._shape: tuple[int, ...] = ()
        self._dtype: np.dtype[Any] = np.dtype(np.float32)
        self._count = 0

    def add(self, array: npt.NDArray[Any]) -> None:
        """Write one more; all have the shape and type of the first."""
        if self._count == 0:
            self._shape, self._dtype = array.shape, array.dtype
        self._file.write(np.ascontiguousarray(array, dtype=self._dtype).tobytes())
        self._count += 1

    def array(self) -> npt.NDArray[Any]:
        """All of them, mapped."""
        self._file.close()
        return np.memmap(self._path, dtype=self._dtype, mode="r", shape=(self._count, *self._shape))
