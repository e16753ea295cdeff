"""Options whose values are the names in a table of another part."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name

import click


class NameIn(click.Choice[str]):
    """A name in a table, which is imported when its names are asked for: commands themselves load click alone."""

    def __init__(self, table: str, *, also: tuple[str, ...] = ()) -> None:
        """
        Args:
            table: `package.module:TABLE`.
            also: Names that the command itself knows, before those of the table.
        """
        self._table = table
        self._also = also
        self.case_sensitive = True

    @property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names, in the order of the table."""
        table: Mapping[str, object] = resolve_name(self._table)
        return (*self._also, *table)
