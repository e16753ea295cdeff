"""What is wrong with the columns of a table, told at once; without pandas, which a sweep over arrays does not need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tuner.data.text import quoted
from tuner.errors import DataError


class UnusableColumns:
    """Gathers what is wrong with columns, so that a user hears of all at once, with the line that leaves them out."""

    def __init__(self, ignored: Sequence[str]) -> None:
        self._ignored = list(ignored)
        self._errors: dict[str, DataError] = {}
        self._doubts: dict[str, DataError] = {}

    @contextmanager
    def looking_at(self, name: str) -> Iterator[None]:
        """Note what is raised of a column, and go on."""
        try:
            yield
        except DataError as error:
            self._errors[name] = error

    def doubt(self, name: str, error: DataError) -> None:
        """Note what will most likely be wrong with a column: it is said if something surely is."""
        self._doubts[name] = error

    def refuse(self) -> None:
        """Say what was found.

        Raises:
            DataError: something was.
        """
        if not self._errors:
            return
        found = self._errors | self._doubts
        if len(found) == 1:
            raise next(iter(found.values()))
        listed = "\n".join(f"  {error}" for error in found.values())
        names = ", ".join(_yaml(name) for name in [*self._ignored, *found])
        raise DataError(
            f"{len(found)} columns cannot be used as they are:\n{listed}\nmend them, or leave them out, which "
            f"is all of data.ignore then:\n  ignore: [{names}]"
        )


def _yaml(name: str) -> str:
    """A name in a list of YAML's flow style."""
    return name if re.fullmatch(r"[A-Za-z_][\w.-]*", name) else quoted(name)
