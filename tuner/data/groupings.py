"""Columns that a report gives scores by, such as a region or a kind of customer; inputs or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tuner.data.text import clean, quoted
from tuner.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_MOST = 50
"""Groups of a column."""
_MOST_OF_NUMBERS = 12
"""Distinct numbers that are groups of their own; more are cut at their quartiles."""
_NO_VALUE = "(no value)"


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """A column's groups, and which each example is in."""

    name: str
    values: tuple[str, ...]
    """Of the groups, in their order."""
    codes: npt.NDArray[np.int64]
    """For each example the position of its group in `values`."""

    def take(self, index: npt.NDArray[Any]) -> Grouping:
        """Of the examples at these positions."""
        return replace(self, codes=self.codes[index])


def groupings_of(frame: pd.DataFrame, names: Sequence[str]) -> tuple[Grouping, ...]:
    """Those of the columns of a table.

    Raises:
        DataError: a column has too many texts to be groups.
    """
    return tuple(_grouping(name, frame[name]) for name in names)


def _grouping(name: str, column: pd.Series[Any]) -> Grouping:
    import pandas as pd

    missing = column.isna().to_numpy()
    is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    if is_number and column.nunique() > _MOST_OF_NUMBERS:
        values, codes = _quartiles(column.to_numpy(dtype=np.float64, na_value=np.nan))
    else:
        known = sorted(column[~missing].unique()) if is_number else sorted({clean(str(v)) for v in column[~missing]})
        values = tuple(f"{value:g}" if is_number else str(value) for value in known)
        place = {value: code for code, value in enumerate(known)}
        codes = np.array([place[v if is_number else clean(str(v))] if not m else -1
                          for v, m in zip(column, missing, strict=True)], dtype=np.int64)  # fmt: skip
    if len(values) > _MOST:
        raise DataError(
            f"data.report_by: column {quoted(name)} has {len(values):,} distinct values, and scores are given by "
            f"{_MOST} groups at most; name a coarser column"
        )
    if missing.any():
        values, codes = (*values, _NO_VALUE), np.where(missing, len(values), codes)
    return Grouping(name, values, codes)


def _quartiles(numbers: npt.NDArray[np.float64]) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Numbers cut into four groups of about one size, or fewer where many are the same."""
    known = numbers[~np.isnan(numbers)]
    cuts = np.unique(np.quantile(known, [0.25, 0.5, 0.75], method="lower"))
    cuts = cuts[cuts < known.max()]
    ends = [f"{cut:g}" for cut in cuts]
    names = [f"up to {ends[0]}"] if ends else []
    names += [f"above {low} up to {high}" for low, high in pairwise(ends)]
    names.append(f"above {ends[-1]}" if ends else "all")
    return tuple(names), np.searchsorted(cuts, numbers, side="left").astype(np.int64)
