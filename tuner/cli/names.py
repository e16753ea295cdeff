"""Options whose values are the names in a table of another part."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tuner.plugins import Kind


class NameIn(click.Choice[str]):
    """A name in a table, which is imported when its names are asked for: commands themselves load click alone."""

    def __init__(self, table: str, *, also: tuple[str, ...] = (), plugins: Kind | None = None) -> None:
        """
        Args:
            table: `package.module:TABLE`.
            also: Names that the command itself knows, before those of the table.
            plugins: The kind of plug-ins whose names come after those of the table.
        """
        self._table = table
        self._also = also
        self._plugins = plugins
        self.case_sensitive = True

    @property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names, in the order of the table."""
        table: Mapping[str, object] = resolve_name(self._table)
        if self._plugins is None:
            return (*self._also, *table)
        from tuner.plugins import plugins

        return tuple(dict.fromkeys((*self._also, *table, *plugins(self._plugins))))
