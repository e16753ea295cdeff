"""A large table as one frame, read in parts: memory holds little more than the frame, whose texts are integers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

LARGE_BYTES = 1 << 23
"""Of a file: smaller ones are read at once."""
PART_BYTES = 1 << 24
"""Of a file, about, that are read at once."""
_EXACT = 1 << 53
"""A float64 is any whole number below this."""


def joined(parts: Iterable[pd.DataFrame]) -> pd.DataFrame | None:
    """The frame that is read if the table is read whole, with categories for texts.

    None if a column looks different from part to part (texts here, numbers there), so that only the whole tells.
    """
    import pandas as pd

    columns: dict[Any, _Column] = {}
    num_rows = 0
    for frame in parts:
        for name, column in frame.items():
            columns.setdefault(name, _Column()).add(column)
        num_rows += len(frame)
    found: dict[Any, Any] = {}
    for name in list(columns):
        whole = columns.pop(name).whole()
        if whole is None or len(whole) != num_rows:
            return None
        found[name] = whole
    return pd.DataFrame(found, copy=False) if found else None


class _Column:
    """The rows of one column so far."""

    def __init__(self) -> None:
        self._pieces: list[Any] = []
        self._codes_of: dict[Any, int] = {}
        """The number of each text."""
        self._kinds: set[str] = set()
        """`text`, `empty`, or the kinds of other types."""

    def add(self, column: pd.Series[Any]) -> None:
        import pandas as pd

        if column.dtype.kind in "iufb" and isinstance(column.dtype, np.dtype):
            values = column.to_numpy()
            is_empty = column.dtype.kind == "f" and bool(np.isnan(values).all())
            self._kinds.add("empty" if is_empty else column.dtype.kind)
            self._pieces.append(values)
        elif not isinstance(column.dtype, pd.StringDtype) and column.dtype != np.dtype(object):
            self._kinds.add(str(column.dtype))
            self._pieces.append(column)
        elif column.isna().all():
            self._kinds.add("empty")
            self._pieces.append(np.full(len(column), np.nan))
        else:
            self._add_texts(column)

    def _add_texts(self, column: pd.Series[Any]) -> None:
        import pandas as pd

        try:
            codes, values = pd.factorize(column.astype(object))
        except TypeError:  # lists and the like
            self._kinds.add("other")
            return
        self._kinds.add("text" if all(isinstance(value, str) for value in values) else "other")
        numbers = [self._codes_of.setdefault(value, len(self._codes_of)) for value in values]
        self._pieces.append(np.array([*numbers, -1], dtype=np.int32)[codes])

    def whole(self) -> Any:
        """All rows; None if they are not of one kind."""
        import pandas as pd

        kinds, pieces = self._kinds, self._pieces
        if "text" in kinds:
            if not kinds <= {"text", "empty"}:
                return None
            codes = [np.full(len(p), -1, np.int32) if p.dtype.kind == "f" else p for p in pieces]
            texts = pd.Index(list(self._codes_of), dtype=object)
            return pd.Categorical.from_codes(np.concatenate(codes), categories=texts)
        if kinds <= {"i", "f", "empty"}:
            if len(kinds) > 1 and not all(_is_exact(piece) for piece in pieces):
                return None  # as parsed, it may be another number in the last digit
            return np.concatenate(pieces)
        if len(kinds) > 1 or kinds == {"other"}:
            return None
        if kinds <= {"b", "u"}:
            return np.concatenate(pieces)
        return pd.concat(pieces, ignore_index=True)


def _is_exact(values: npt.NDArray[Any]) -> bool:
    return values.dtype.kind != "i" or bool((np.abs(values) < _EXACT).all())
