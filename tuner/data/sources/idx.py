"""The IDX format of MNIST: a file of images, and beside it the file of their labels; either may be gzipped."""

from __future__ import annotations

import gzip
import re
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tuner.data.content import Arrays, Contents
from tuner.errors import DataError
from tuner.spec.model import DataSpec

_NAME = re.compile(r"[-.]idx\d(-[a-z]+)?(\.gz)?$", re.IGNORECASE)
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_UNPACKED_AT_MOST = 1 << 32


def matches(location: str, path: Path) -> bool:
    return _NAME.search(path.name) is not None


def read(location: str, path: Path, data: DataSpec, root: Path) -> Contents:
    of_labels = labels_path(path, data, root)
    inputs, labels = _mapped_idx(path) if data.stream else read_array(path), read_array(of_labels)
    if inputs.ndim < 2:
        raise DataError(f"{path.name} holds an array of shape {inputs.shape}; name the file of images, not of labels")
    if len(inputs) != len(labels):
        raise DataError(f"{path.name} holds {len(inputs):,} images and {of_labels.name} {len(labels):,} labels")
    return Contents(
        train=Arrays(
            inputs=inputs,
            targets=labels,
            where=path.name,
            task="classification" if labels.ndim == 1 and labels.dtype.kind in "iu" else None,
            target_names=("label",) if labels.ndim == 1 else (),
        )
    )


def labels_path(path: Path, data: DataSpec, root: Path) -> Path:
    """The file that `target:` names, else the one that is called like the images."""
    if isinstance(data.target, str):
        named = root / data.target
        if not named.is_file():
            raise DataError(f"data.target: there is no file of labels {named}")
        return named
    bare = path.name.removesuffix(".gz")
    renamed = re.sub(r"images?", "labels", re.sub(r"idx\d", "idx1", bare), count=1)
    candidates = [path.with_name(renamed), path.with_name(renamed + ".gz")]
    found = next((c for c in candidates if c.is_file() and c.name != path.name), None)
    if found is None:
        raise DataError(
            f"the labels of {path.name} should be in {candidates[0].name}, which does not exist; name the "
            "file as data.target"
        )
    return found


def _mapped_idx(path: Path) -> npt.NDArray[Any]:
    """The array, left on disk."""
    if path.name.endswith(".gz"):
        raise DataError(f"data.stream: {path.name} is packed and cannot be read in parts; unpack it with gunzip")
    with path.open("rb") as file:
        dtype, shape, start = _header(file.read(4 + 4 * 255), path)
    _check_size(path.stat().st_size, dtype, shape, start, path)
    return np.memmap(path, dtype=dtype, mode="r", offset=start, shape=shape)


def read_array(path: Path) -> npt.NDArray[Any]:
    """The array of a file.

    Raises:
        DataError: it is damaged.
    """
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            content = file.read(_UNPACKED_AT_MOST)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path.name} is damaged: {error}") from error
    dtype, shape, start = _header(content, path)
    _check_size(len(content), dtype, shape, start, path)
    return np.frombuffer(content, dtype=dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _header(content: bytes, path: Path) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Type and shape of the array, and where it starts."""
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _TYPES:
        raise DataError(f"{path.name} is no IDX file: it begins with {content[:4].hex(' ') or 'nothing'}")
    start = 4 + 4 * content[3]
    shape = tuple(int(n) for n in np.frombuffer(content[4:start], dtype=">u4")) if len(content) >= start else ()
    if len(shape) != content[3]:
        raise DataError(f"{path.name} is cut off or too long: its header promises an array of shape ?")
    return np.dtype(_TYPES[content[2]]), shape, start


def _check_size(size: int, dtype: np.dtype[Any], shape: tuple[int, ...], start: int, path: Path) -> None:
    if size != start + prod(shape) * dtype.itemsize:
        raise DataError(f"{path.name} is cut off or too long: its header promises an array of shape {shape or '?'}")
