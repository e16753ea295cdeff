"""Parquet files, and folders of them. Needs the extra `parquet`."""

from __future__ import annotations

from pathlib import Path

from tuner.data.content import Contents, Table
from tuner.errors import DataError
from tuner.imports import require
from tuner.spec.model import DataSpec


def matches(location: str, path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def read(location: str, path: Path, data: DataSpec, root: Path) -> Contents:
    arrow = require("pyarrow", extra="parquet")
    import pandas as pd

    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except arrow.ArrowException as error:
        raise DataError(f"{path.name} is no Parquet file: {str(error).splitlines()[0]}") from error
    return Contents(train=Table(frame=frame, where=path.name))
