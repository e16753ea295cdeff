"""YAML 1.2 text as plain values that remember where each of them stands.

Only what a sweep file needs: no aliases, no tags, one document. Numbers are those of the YAML 1.2 core schema, so
`1e-3` is one, `010` is ten, and `on` and `no` are text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from tuner.records import Json
from tuner.spec.text.problems import KeyPath, Place, Problem, describe, quoted

MAX_DEPTH = 32
_MAX_VALUES = 20_000
"""A sweep file holds about a hundred; the limit bounds the time that a hostile file can take."""
_MAX_LINE = 10_000
"""Characters; some of a YAML scanner's work grows with the square of a line's length."""
_MAX_DIGITS = 18

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Json] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_SYNTAX_REMEDIES = (
    ("'\\t'", "indent with spaces, not tabs"),
    (
        "mapping values are not allowed",
        "check the indentation, and that every colon behind a key has a space behind it",
    ),
    ("could not find expected ':'", "write `key: value`, with a space behind the colon"),
    ("<block end>", "check the indentation: keys of one block start in the same column"),
    ("expected ',' or", "close the bracket, or add the missing comma"),
    ("quoted scalar", "close the quote"),
    ("cannot start any token", "put text that begins with this character in quotes"),
)

_Locator: TypeAlias = Callable[[int, int, str], Place]
"""Makes a place from a line and a column, counted from 1, and the value as written there."""


@dataclass(slots=True)
class Document:
    """The values of a sweep file, and the places of its keys and values by key path."""

    value: Json = None
    """Of a mapping what was read of it, where something behind that could not be."""
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    values: dict[KeyPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    is_whole: bool = True
    """Whether all of the text was read, so that what is missing in it is missing indeed."""


class _TooMuchError(Exception):
    """The rest of the text is not worth reading."""


def parse_yaml(text: str, *, locate: _Locator) -> Document:
    """Read one YAML document; what is wrong with it as YAML is in its `problems`."""
    document = Document(values={(): locate(1, 1, "")})
    long_line = next((n for n, line in enumerate(text.split("\n"), start=1) if len(line) > _MAX_LINE), None)
    if long_line is not None:
        rule = f"is longer than {_MAX_LINE} characters"
        document.problems.append(locate(long_line, 1, "").problem((), rule, remedy="no line of a sweep file is"))
        document.is_whole = False
        return document
    try:
        _Builder(document, _events(text), locate).build()
    except _TooMuchError:
        document.is_whole = False
    except ReaderError as error:
        before = text[: error.position]
        place = locate(before.count("\n") + 1, len(before) - before.rfind("\n"), "")
        rule = f"holds the character {text[error.position]!a}, which YAML does not allow"
        document.problems.append(place.problem((), rule, remedy="remove it"))
        document.is_whole = False
    except YAMLError as error:
        document.is_whole = False
        document.problems.append(_syntax_problem(error, locate))
    return document


def _events(text: str) -> Iterator[Event]:
    events: Iterator[Event] = YAML(typ="safe", pure=True).parse(text)
    return events


def _syntax_problem(error: YAMLError, locate: _Locator) -> Problem:
    if not isinstance(error, MarkedYAMLError):
        return locate(1, 1, "").problem((), f"is not valid YAML ({' '.join(str(error).split())})")
    message = " ".join((error.problem or error.context or "").split())
    # What was never closed is to be mended where it was opened, not where the text ends.
    at_end = "end of stream" in message or "<stream end>" in message
    mark = (error.context_mark if at_end else None) or error.problem_mark or error.context_mark
    place = locate(mark.line + 1, mark.column + 1, "") if mark else locate(1, 1, "")
    full = f"{message} {error.context or ''}"
    remedy = next((remedy for part, remedy in _SYNTAX_REMEDIES if part in full), "")
    return place.problem((), f"is not valid YAML ({message})", remedy=remedy)


def _plain_value(text: str) -> Json:
    """What an unquoted scalar means in the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) and len(text) <= _MAX_DIGITS:
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base)
    return float(text) if _FLOAT.fullmatch(text) else text


def _is_half(character: str) -> bool:
    """Whether this is one of a pair that UTF-16 writes a character with."""
    return "\ud800" <= character <= "\udfff"


class _Builder:
    """Folds a stream of YAML events into a document."""

    def __init__(self, document: Document, events: Iterator[Event], locate: _Locator) -> None:
        self._document = document
        self._events = events
        self._locate = locate
        self._num_values = 0

    def build(self) -> None:
        documents = 0
        for event in self._events:
            match event:
                case DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        self._problem(event, (), "a second document begins here", "one file holds one sweep")
                        return
                    if event.version not in (None, (1, 2)):
                        self._problem(event, (), "must be YAML 1.2", "remove the %YAML line")
                case ScalarEvent() | SequenceStartEvent() | MappingStartEvent() | AliasEvent():
                    self._document.value = self._value(event, ())
                case StreamEndEvent():
                    return

    def _value(self, event: Event, path: KeyPath) -> Json:
        self._num_values += 1
        if self._num_values > _MAX_VALUES:
            self._problem(event, (), f"holds more than {_MAX_VALUES} values", "a sweep file holds about a hundred")
            raise _TooMuchError
        if len(path) > MAX_DEPTH:
            self._problem(event, path[:3], f"is nested more than {MAX_DEPTH} deep", "no part of a sweep file is")
            raise _TooMuchError
        self._refuse_marks(event, path)
        match event:
            case ScalarEvent():
                plain, text = event.implicit[0], self._text(event, path)
                if plain and len(text) > _MAX_DIGITS and _INTEGER.fullmatch(text):
                    self._problem(event, path, f"must have at most {_MAX_DIGITS} digits", "write a smaller number")
                self._put(event, path, text if plain else quoted(text))
                return _plain_value(text) if plain else text
            case SequenceStartEvent():
                self._put(event, path, "a list")
                return self._sequence(path)
            case MappingStartEvent():
                self._put(event, path, "a mapping")
                return self._mapping(path)
            case _:
                self._put(event, path, "an alias")
                return None

    def _sequence(self, path: KeyPath) -> list[Json]:
        items: list[Json] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: KeyPath) -> dict[str, Json]:
        mapping: dict[str, Json] = {}
        if not path:
            self._document.value = mapping  # from the beginning, so that what stands before an error is read
        while not isinstance(event := next(self._events), MappingEndEvent):
            if not isinstance(event, ScalarEvent):
                self._problem(event, path, "has a key that is no name", "write `name: value`")
                self._skip(event)
                self._skip(next(self._events))
                continue
            key = self._text(event, path)
            place = self._place(event, key)
            self._refuse_marks(event, (*path, key))
            if key in mapping:
                first = self._document.keys[(*path, key)]
                self._document.problems.append(
                    place.problem((*path, key), f"is written twice (first at {first.label})", remedy="remove one")
                )
                self._skip(next(self._events))
                continue
            self._document.keys[(*path, key)] = place
            mapping[key] = self._value(next(self._events), (*path, key))
        return mapping

    def _skip(self, event: Event) -> None:
        """Leave out a value and all that is in it."""
        depth = 0
        while True:
            depth += isinstance(event, SequenceStartEvent | MappingStartEvent)
            depth -= isinstance(event, SequenceEndEvent | MappingEndEvent)
            if depth == 0:
                return
            if depth > MAX_DEPTH:
                raise _TooMuchError
            event = next(self._events)

    def _text(self, event: ScalarEvent, path: KeyPath) -> str:
        r"""A scalar's text; two halves of a character, as JSON escapes them ("\ud83d\ude00"), are put together."""
        text: str = event.value
        if text.isprintable() or not any(_is_half(c) for c in text):
            return text
        whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if "\ufffd" in whole:
            self._problem(event, path, "holds half of a character", "write the character itself")
        return whole

    def _refuse_marks(self, event: Event, path: KeyPath) -> None:
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if isinstance(event, AliasEvent):
            self._problem(
                event, path, f"aliases such as *{describe(str(anchor))} are not allowed", "write the value out"
            )
        elif anchor is not None:
            self._problem(event, path, f"anchors such as &{describe(str(anchor))} are not allowed", "remove it")
        if tag is not None:
            self._problem(event, path, f"tags such as {describe(str(tag))} are not allowed", "remove it")

    def _put(self, event: Event, path: KeyPath, text: str) -> None:
        self._document.values[path] = self._place(event, text)

    def _place(self, event: Event, text: str) -> Place:
        return self._locate(event.start_mark.line + 1, event.start_mark.column + 1, text)

    def _problem(self, event: Event, path: KeyPath, rule: str, remedy: str) -> None:
        self._document.problems.append(self._place(event, "").problem(path, rule, remedy=remedy))
