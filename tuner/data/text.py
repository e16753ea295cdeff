"""Texts out of files, made fit for one line of a message, a table or a terminal."""

from __future__ import annotations

_LONGEST_QUOTE = 60


def clean(text: str) -> str:
    """The text without characters that control a terminal, and with single spaces for any white space."""
    spaced = " ".join(text.split())
    return spaced if spaced.isprintable() else "".join(c for c in spaced if c.isprintable())


def quoted(value: object) -> str:
    """A value in quotes, cut where it is long."""
    text = clean(str(value))
    return f'"{text}"' if len(text) <= _LONGEST_QUOTE else f'"{text[:_LONGEST_QUOTE]}..."'
