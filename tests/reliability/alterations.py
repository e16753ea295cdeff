"""Ways to alter one value of a study's database: everything that SQLite can hold, where something else belongs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TEXTS: Sequence[Any] = (
    "", "{oops", "null", "[]", "{}", "true", "7", "-1", "1e999", "-1e308", "9" * 400, "9" * 5000, '"words"',
    "[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000, "[" * 500 + "]" * 500, '"' + "x" * 9**5 + '"',
    "\0", '"\\u0000\\u001b[2J\\ud800"', '{"$float": "abc"}', '{"$float": [1]}', '{"$float": "nan"}', b"\xff", None, 7,
)  # fmt: skip
"""In place of a JSON text."""
PARTS: Sequence[Any] = (
    None, "words", "", -1, 0, True, 1e308, -1e308, 2**62, 10**30, 10**400, [], {}, [[[]]], {"a": {"b": 1}}, [None],
    {"$float": "abc"}, {"$float": "inf"}, {"$float": "nan"}, "\ud800\x1b[2J\0", "x" * 5000,
)  # fmt: skip
"""In place of a value within a JSON text."""
CELLS: Sequence[Any] = (
    None, -1, 0, 2**62, -(2**62), 1.5, 1e308, float("inf"), "words", "", "a\0b", "\x1b[2J", "x" * 100_000, b"\xff\x00",
)  # fmt: skip
"""In place of a plain value."""
JSON_COLUMNS = {"value_json", "distribution_json"}


@dataclass(frozen=True)
class Alteration:
    """One statement, and what to call it."""

    name: str
    statement: str
    values: tuple[Any, ...] = ()

    @property
    def place(self) -> str:
        """What is altered, whatever stands there instead."""
        return self.name.partition(" = ")[0]

    def apply(self, database: Path) -> None:
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(self.statement, self.values)


def without_rules(database: Path) -> None:
    """Let the database hold what its schema forbids: as it would be after a fault of the disk, or forged."""
    with closing(sqlite3.connect(database)) as old:
        tables = [name for (name,) in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        content = {name: (_columns(old, name), old.execute(f"SELECT * FROM {name}").fetchall()) for name in tables}
    database.unlink()
    with closing(sqlite3.connect(database)) as new, new:
        for name, (columns, rows) in content.items():
            new.execute(f"CREATE TABLE {name} ({', '.join(' '.join(column) for column in columns)})")
            new.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(columns))})", rows)


def alterations(database: Path, *, trials: Sequence[int]) -> Iterator[Alteration]:
    """Every column of every table in turn: of all rows of studies, and of these trials (by their ids)."""
    with closing(sqlite3.connect(database)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master")]
        for table in tables:
            yield Alteration(f"{table} is gone", f"DROP TABLE {table}")
            yield Alteration(f"{table} is empty", f"DELETE FROM {table}")
            columns = [name for name, _ in _columns(connection, table)]
            rows = connection.execute(f"SELECT rowid, * FROM {table}").fetchall()
            for row_id, *cells in rows:
                row = dict(zip(columns, cells, strict=True))
                if "trial_id" in row and row["trial_id"] not in trials:
                    continue
                name = f"{table} {row.get('key') or row.get('param_name') or ''} of {row.get('trial_id', 'the study')}"
                yield Alteration(f"{name} is gone", f"DELETE FROM {table} WHERE rowid = ?", (row_id,))
                for column in columns:
                    for value in _replacements(row[column], is_json=column in JSON_COLUMNS):
                        statement = f"UPDATE {table} SET {column} = ? WHERE rowid = ?"
                        yield Alteration(f"{name}, {column} = {ascii(value)[:60]}", statement, (value, row_id))
                    others = [other for other in rows if other[0] != row_id]
                    if others and column not in JSON_COLUMNS:
                        twin = others[0][1 + columns.index(column)]
                        yield Alteration(f"{name}, {column} twice", f"UPDATE {table} SET {column} = ?", (twin,))


def _replacements(stored: Any, *, is_json: bool) -> Iterator[Any]:
    if not is_json:
        yield from CELLS
        return
    yield from TEXTS
    value = json.loads(stored)
    for path in _paths(value):
        for part in PARTS:
            changed = json.loads(stored)
            *way, last = path
            inner = changed
            for step in way:
                inner = inner[step]
            inner[last] = part
            yield json.dumps(changed)


def _paths(value: Any) -> Iterator[tuple[Any, ...]]:
    """Where the parts of a JSON value lie; of lists, the first two."""
    keys = list(value) if isinstance(value, dict) else range(min(2, len(value))) if isinstance(value, list) else ()
    for key in keys:
        yield (key,)
        yield from ((key, *rest) for rest in _paths(value[key]))


def _columns(connection: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    return [(name, kind) for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")]
