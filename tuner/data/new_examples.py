"""New examples to predict out of formats that a training file may have, and an exported folder does not read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from tuner.data.sources import idx, numpy_files, parquet

if TYPE_CHECKING:
    import pandas as pd


def read_array(path: Path) -> npt.NDArray[Any] | None:
    """The inputs of an NPZ archive, or of a file in the format of MNIST; None of another file.

    Raises:
        DataError: it cannot be read, or holds several arrays and none is called as inputs are.
    """
    if idx.matches(path.name, path):
        return idx.read_array(path)
    if path.suffix.lower() == ".npz":
        return numpy_files.read_inputs(path)
    return None


def read_rows(path: Path) -> Iterator[dict[str, str]] | None:
    """The rows of a Parquet file, as a CSV file would have them; None of another file.

    Raises:
        DataError: it cannot be read.
        MissingExtraError: the extra `parquet` is not installed.
    """
    if not parquet.matches(path.name, path):
        return None
    return (row for frame in parquet.read_frames(path) for row in as_texts(frame))


def as_texts(frame: pd.DataFrame) -> Iterator[dict[str, str]]:
    """The rows of a table, as a CSV file would have them."""
    known = frame.astype(object).where(frame.notna(), None)
    columns = {str(name): [_text(value) for value in known[name]] for name in known}
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
