"""Texts out of files, made fit for one line of a message, a table or a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence

_LONGEST_QUOTE = 60
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
DATE = re.compile(
    r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"
    rf"|{_MONTH}\.? \d{{1,2}},? \d{{4}}|\d{{1,2}}\.?[ -]{_MONTH}[ -]\d{{2,4}})([ T]\d{{1,2}}:\d{{2}}.*)?",
    re.IGNORECASE,
)
"""A date in figures or with the name of its month."""


def clean(text: str) -> str:
    """The text without characters that control a terminal, and with single spaces for any white space."""
    spaced = " ".join(text.split())
    return spaced if spaced.isprintable() else "".join(c for c in spaced if c.isprintable())


def quoted(value: object) -> str:
    """A value in quotes, cut where it is long."""
    text = clean(str(value))
    return f'"{text}"' if len(text) <= _LONGEST_QUOTE else f'"{text[:_LONGEST_QUOTE]}..."'


def some(items: Sequence[str], limit: int = 5) -> str:
    """The first of them with commas, and how many more there are."""
    return ", ".join(items[:limit]) + (f" and {len(items) - limit:,} more" if len(items) > limit else "")
