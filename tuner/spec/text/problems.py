"""What is wrong with a sweep file: one line each, `place: key: rule, got value; remedy`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]
"""Keys and list indices from the top of a sweep file down to a value."""

_MAX_SHOWN = 60
_MAX_LINES = 50


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One line for the user, and where it belongs among the others."""

    order: tuple[int, int, int]
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key or a value stands: in the file, or in a `--set` flag."""

    label: str
    """`digits.yaml:9:20`, or `--set search.trials=0`."""
    order: tuple[int, int, int]
    """Flags come behind the file; then by line and column."""
    text: str = ""
    """The value as it is written there."""

    def problem(self, path: KeyPath, rule: str, *, got: str = "", remedy: str = "") -> Problem:
        """A problem at this place."""
        key = f"{show_path(path)}: " if path else ""
        value = f", got {describe(got)}" if got else ""
        joint = ". " if remedy.startswith("Did you mean") else "; "
        return Problem(self.order, _printable(f"{self.label}: {key}{rule}{value}{joint if remedy else ''}{remedy}"))


def show_path(path: KeyPath) -> str:
    """`search.start[0].momentum`."""
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f"{'.' if shown else ''}{describe(part)}"
    return shown


def describe(text: str) -> str:
    """A text of the user's that is safe to print: one line, no control characters, not long."""
    safe = _printable(text[: _MAX_SHOWN + 1])
    return safe if len(safe) <= _MAX_SHOWN else safe[: _MAX_SHOWN - 3] + "..."


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def show_value(value: object) -> str:
    """A value as it is written in YAML: `true`, not `True`."""
    return describe(str(value).lower() if isinstance(value, bool) else str(value))


def plain_number(value: float) -> str:
    """A number as people write it: `1,000,000`, not `1e+06`."""
    return f"{value:,.0f}" if 1e6 <= abs(value) < 1e16 and float(value).is_integer() else f"{value:g}"


def quoted(text: str) -> str:
    """A text in the quotes that it has in YAML."""
    return json.dumps(text[: _MAX_SHOWN + 1], ensure_ascii=False)


def lines(problems: Iterable[Problem]) -> tuple[str, ...]:
    """The lines in the order of the file, each once; no more than a user can read."""
    texts = list(dict.fromkeys(p.text for p in sorted(problems)))
    hidden = len(texts) - _MAX_LINES
    return tuple(texts if hidden <= 0 else [*texts[:_MAX_LINES], f"... and {hidden} more problems"])
