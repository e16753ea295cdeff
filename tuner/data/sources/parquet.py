"""Parquet files, and folders of them. Needs the extra `parquet`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.data.content import Contents, StoredTable, Table
from tuner.data.sources.delimited import part_rows
from tuner.data.sources.joined import LARGE_BYTES, joined
from tuner.errors import DataError
from tuner.imports import require
from tuner.spec.model import DataSpec

if TYPE_CHECKING:
    import pandas as pd

_BUFFER_BYTES = 1 << 14


def matches(location: str, path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def read(location: str, path: Path, data: DataSpec, root: Path) -> Contents:
    require("pyarrow", extra="parquet")
    if data.stream:
        with _refusing(path.name):
            found = _dataset(path)
        files = tuple(Path(file) for file in found.files)
        return Contents(train=StoredTable(read=partial(_parts, path), files=files, where=path.name))
    import pandas as pd

    frame = None
    if path.is_file() and path.stat().st_size >= LARGE_BYTES:
        frame = joined(_parts(path, {}))
    if frame is None:
        with _refusing(path.name):
            frame = pd.read_parquet(path, engine="pyarrow")
    return Contents(train=Table(frame=frame, where=path.name))


def read_frames(path: Path) -> Iterator[pd.DataFrame]:
    """The table of a file or a folder, in parts.

    Raises:
        DataError: it is damaged.
        MissingExtraError: the extra `parquet` is not installed.
    """
    require("pyarrow", extra="parquet")
    return _parts(path, {})


def _dataset(path: Path) -> Any:
    """The file, or the files of a folder with the columns that its folders' names add, as pandas reads them."""
    from pyarrow import dataset

    by_name = dataset.HivePartitioning.discover(infer_dictionary=True)
    return dataset.dataset(path, format="parquet", partitioning=by_name)


def _parts(path: Path, types: Mapping[str, str]) -> Iterator[pd.DataFrame]:
    """The table in parts. Its schema has the types already."""
    import pandas as pd
    import pyarrow
    from pyarrow import dataset, parquet

    with _refusing(path.name):
        found = _dataset(path)
        rows = part_rows(max(1, len(found.schema)))
        for fragment in found.get_fragments():
            by_name = dataset.get_partition_keys(fragment.partition_expression)
            # Scanners read far ahead; a file's own reader keeps a page of each column.
            with parquet.ParquetFile(fragment.path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file:
                for batch in file.iter_batches(batch_size=rows, use_threads=False):
                    frame = pyarrow.Table.from_batches([batch]).to_pandas()
                    for name, value in by_name.items():
                        frame[name] = pd.Series([value] * len(frame), index=frame.index, dtype=object)
                    if len(frame):
                        yield frame


@contextmanager
def _refusing(where: str) -> Iterator[None]:
    import pyarrow

    try:
        yield
    except pyarrow.ArrowException as error:
        raise DataError(f"{where} is no Parquet file: {str(error).splitlines()[0]}") from error
