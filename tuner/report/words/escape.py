"""Names and reasons come from users and from databases of others: each output format disarms them its own way."""

from __future__ import annotations

import re
import unicodedata

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]|~])")


def visible(text: str) -> str:
    """The text on one line: control characters, escape codes and direction marks become `\\x..` or a space."""
    return text if text.isprintable() else "".join(_visible_character(c) for c in text)


def visible_lines(text: str) -> str:
    """The same of each line: a text of several lines stays one."""
    return "\n".join(map(visible, text.split("\n")))


def _visible_character(character: str) -> str:
    if character in "\n\r\t":
        return " "
    # Cc: control, Cf: format (bidirectional overrides), Cs: lone surrogates, Zl and Zp: separators of lines.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return f"\\x{ord(character):02x}"
    return character


def characters(text: str) -> str:
    """The text with escapes for what is no character: half of a pair of UTF-16, as damaged JSON may hold it."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def spreadsheet_cell(text: str) -> str:
    """The text behind a `'` where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def markdown_cell(text: str) -> str:
    """The text as the content of a cell of a Markdown table."""
    import html  # which brings all of HTML's entities

    return html.escape(_MARKDOWN_SPECIAL.sub(r"\\\1", visible(text)), quote=False)
