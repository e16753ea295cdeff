"""CSV and its relatives: columns separated by commas, semicolons, tabs, bars or spaces, header row or none."""

from __future__ import annotations

import csv
import gzip
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner.data.content import Contents, StoredTable, Table
from tuner.data.sources.joined import LARGE_BYTES, PART_BYTES, joined
from tuner.data.text import quoted
from tuner.errors import DataError
from tuner.spec.model import DataSpec

if TYPE_CHECKING:
    import pandas as pd

_SUFFIXES = {".csv", ".tsv", ".tab", ".txt", ".data"}
_PACKED = {".gz", ".bz2", ".xz", ".zip", ".zst"}
_SEPARATORS = (",", ";", "\t", "|")
_SPACES = r"\s+"
_SAMPLE_ROWS = 200
_NO_NAME = "column_"
PART_CELLS = 1 << 17
"""Cells that are read at once where a table is read in parts: texts of this many take some 10 MB."""
_MANY_COLUMNS = 1000
LEAST_ROWS = 512
"""That are read at once of many columns, for each part has a cost for each column; up to so many cells."""
_MOST_CELLS = 1 << 23


def matches(location: str, path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        suffixes.pop()
    return bool(suffixes) and suffixes[-1] in _SUFFIXES


def read(location: str, path: Path, data: DataSpec, root: Path) -> Contents:
    where = path.name
    with _refusing(where):
        separator = _separator(path)
        sample = next(_read(path, separator, header=None, nrows=_SAMPLE_ROWS, dtype=str, na_filter=False))
    has_header = _has_header(sample)
    notes: tuple[str, ...] = ()
    if has_header:
        _check_names(sample.iloc[0], where)
    else:
        notes = (f"{where} has no header row; its columns are called column_1 to column_{sample.shape[1]}",)
    parts = partial(_parts, path, separator, has_header)
    if data.stream:
        rows = part_rows(sample.shape[1])
        return Contents(train=StoredTable(read=partial(parts, rows), files=(path,), where=where, notes=notes))
    frame = None
    if path.stat().st_size >= LARGE_BYTES:
        num_bytes = sum(sample[name].str.len().sum() for name in sample.columns) + sample.size  # with separators
        frame = joined(parts(max(1, int(PART_BYTES * len(sample) / num_bytes)), {}))
    return Contents(train=Table(frame=next(parts(None, {})) if frame is None else frame, where=where, notes=notes))


def part_rows(num_columns: int) -> int:
    """Rows of a part of a table that is read in parts."""
    return max(1, PART_CELLS // num_columns, min(LEAST_ROWS, _MOST_CELLS // num_columns))


def _parts(
    path: Path, separator: str, has_header: bool, rows: int | None, types: Mapping[str, str]
) -> Iterator[pd.DataFrame]:
    """The table in parts of so many rows; in one if None."""
    by_place = {int(name.removeprefix(_NO_NAME)) - 1: kind for name, kind in types.items()} if not has_header else types
    first = 0
    with _refusing(path.name):
        for frame in _read(path, separator, header=0 if has_header else None, dtype=by_place or None, chunksize=rows):
            _check_quotes(frame, separator, path.name, first)
            if frame.shape[1] > _MANY_COLUMNS:
                frame = frame.copy()  # columns of a type in one array: what is done to all takes one step
            if not has_header:
                frame.columns = [f"{_NO_NAME}{i + 1}" for i in range(frame.shape[1])]
            yield frame
            first += len(frame)


@contextmanager
def _refusing(where: str) -> Iterator[None]:
    """What pandas says of a file that it cannot read, as a user's error."""
    import pandas as pd

    try:
        yield
    except pd.errors.EmptyDataError:
        raise DataError(f"{where} is empty") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataError(f"{where} is no table: {_cause(error)}; every row needs as many fields as the first") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{where} is a damaged or truncated gzip file: {error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is no UTF-8 text ({error}); save it as UTF-8 CSV") from error


def _read(path: Path, separator: str, **options: Any) -> Iterator[pd.DataFrame]:
    """The parts of a file: one, if no `chunksize` is given."""
    import pandas as pd

    def strictly(step: Callable[[], Any]) -> Any:
        with warnings.catch_warnings():
            # pandas only warns, and drops fields, when rows are longer than the header.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return step()

    found = strictly(
        lambda: pd.read_csv(
            path,
            sep=separator,
            index_col=False,
            na_values=["?"],
            skipinitialspace=True,
            low_memory=False,
            encoding="utf-8-sig",
            **options,
        )
    )
    if isinstance(found, pd.DataFrame):
        yield found
        return
    with found:
        while (frame := strictly(lambda: next(found, None))) is not None:
            yield frame


def _separator(path: Path) -> str:
    """The separator that the first row has most of, outside quotes; spaces where it has none."""
    import pandas as pd

    first = pd.read_csv(path, sep="\x01", header=None, nrows=1, dtype=str, quoting=csv.QUOTE_NONE, encoding="utf-8-sig")
    line = str(first.iloc[0, 0])
    outside_quotes = "".join(line.split('"')[::2])
    if not any(separator in outside_quotes for separator in _SEPARATORS) and len(outside_quotes.split()) > 1:
        return _SPACES
    return max(_SEPARATORS, key=outside_quotes.count)


def _has_header(sample: pd.DataFrame) -> bool:
    """Whether the first row names the columns: somewhere it is text above numbers, or new text above texts.

    Whole numbers counted from 0 or 1 are names too: pandas writes them for columns without a name.
    """
    first, rest = sample.iloc[0].str.strip(), sample.iloc[1:]
    if not len(rest):
        return True
    numeric = []
    for name in sample.columns:
        numeric.append(all(map(_is_number_or_missing, rest[name])))
        if numeric[-1] and not _is_number_or_missing(first[name]):
            return True
    if len(first) > 1 and list(first) in ([str(i) for i in range(len(first))], [str(i + 1) for i in range(len(first))]):
        return True
    if any(numeric):
        return False
    return not any(first[name] in set(rest[name].str.strip()) for name in sample.columns)


def _check_names(header: pd.Series[str], where: str) -> None:
    """pandas renames the second of two equal names, which nobody would notice."""
    names = header.str.strip()
    repeated = names[names.duplicated() & (names != "")]
    if len(repeated):
        raise DataError(f"{where}: two columns are called {quoted(repeated.iloc[0])}; rename one")


def _check_quotes(frame: pd.DataFrame, separator: str, where: str, first: int) -> None:
    """A quote that is never closed swallows whole rows into one value; the frame's rows begin with number `first`."""
    import pandas as pd

    marks = frame.shape[1] - 1
    if not marks or separator == _SPACES:
        return
    is_plain = [isinstance(dtype, np.dtype) and dtype.kind in "iufb" for dtype in frame.dtypes]
    for place in map(int, np.flatnonzero(np.logical_not(is_plain))):
        name, column = frame.columns[place], frame.iloc[:, place]
        if not pd.api.types.is_string_dtype(column):
            continue
        for row in map(int, np.flatnonzero(column.str.contains("\n", regex=False, na=False))):
            if any(line.count(separator) >= marks for line in str(column.iloc[row]).splitlines()[1:-1]):
                raise DataError(
                    f"{where}, row {first + row + 1}: column {name} holds further rows; a quote is not closed"
                )


def _is_number_or_missing(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text.strip() in ("", "?", "NA", "N/A", "null", "NULL", "None")
    return True


def _cause(error: Exception) -> str:
    return str(error).split("C error: ")[-1].strip().rstrip(".")
