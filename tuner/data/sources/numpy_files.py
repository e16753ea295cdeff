"""NPZ archives of named arrays, and single NPY arrays, whose last column is the target by default."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.content import Arrays, Contents, Table
from tuner.data.named import contents_from_names, name_of_inputs
from tuner.errors import DataError
from tuner.spec.model import DataSpec


def matches(location: str, path: Path) -> bool:
    return path.suffix.lower() in (".npz", ".npy") or (path.is_dir() and any(path.glob("*.npy")))


def read(location: str, path: Path, data: DataSpec, root: Path) -> Contents:
    if path.is_dir():
        files = {file.stem: file for file in sorted(path.glob("*.npy"))}
        arrays = {name: _read_array(file, mapped=data.stream) for name, file in files.items()}
        return contents_from_names(arrays, data, where=path.name)
    if data.stream:
        raise DataError(f"data.stream: {path.name} cannot be read in parts; save its arrays as NPY files in a folder")
    if path.suffix.lower() == ".npz":
        return contents_from_names(_read_archive(path), data, where=path.name)
    return Contents(train=_table(_read_array(path), where=path.name))


def read_inputs(path: Path) -> npt.NDArray[Any]:
    """The array of inputs of an NPZ archive, which may hold others beside it.

    Raises:
        DataError: the archive is damaged, or it holds several arrays and none is called as inputs are.
    """
    arrays = _read_archive(path)
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    name = name_of_inputs(arrays)
    if name is None:
        raise DataError(
            f"{path.name} has no array of inputs (X, inputs or data); there are {', '.join(arrays) or 'none'}"
        )
    return arrays[name]


def _read_archive(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except _DAMAGED as error:
        raise _unreadable(path, error) from error


def _read_array(path: Path, *, mapped: bool = False) -> npt.NDArray[Any]:
    try:
        found: npt.NDArray[Any] = np.load(path, allow_pickle=False, mmap_mode="r" if mapped else None)
        return found
    except _DAMAGED as error:
        raise _unreadable(path, error) from error


_DAMAGED = (
    ValueError, EOFError, MemoryError, OverflowError, NotImplementedError, SyntaxError, struct.error, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip
"""What NumPy raises for a file that is damaged, forged, or none of its own."""
_MAGIC = (b"\x93NUMPY", b"PK", b"\x80")
"""How NPY files, NPZ archives and pickled objects begin."""


def _unreadable(path: Path, error: Exception) -> DataError:
    with path.open("rb") as file:
        begin = file.read(20)
    if not begin.startswith(_MAGIC):
        return DataError(f"{path.name} is no NumPy file: it begins with {begin!r}")
    if isinstance(error, MemoryError):
        return DataError(f"{path.name} says that it holds an array that does not fit into memory: {error}")
    if "allow_pickle" in str(error):
        return DataError(f"{path.name} holds Python objects, which could run code when read; save plain arrays")
    return DataError(f"{path.name} is no NumPy file: {error}")


def _table(array: npt.NDArray[Any], *, where: str) -> Table | Arrays:
    import pandas as pd

    if array.dtype.names:
        return Table(frame=pd.DataFrame(array), where=where)
    if array.ndim != 2:
        raise DataError(
            f"{where}: an array of shape {array.shape} has no column to predict; save inputs and targets in an NPZ file"
        )
    columns = [f"column_{i + 1}" for i in range(array.shape[1])]
    return Table(frame=pd.DataFrame(array, columns=columns), where=where)
