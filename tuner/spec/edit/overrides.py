"""`--set key.path=value`: a value of the sweep file replaced for one command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from tuner.records import Json
from tuner.spec.text.document import Document, parse_yaml
from tuner.spec.text.problems import KeyPath, Place, Problem, describe


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Put the values of `--set` flags into a document; what is wrong with them joins its problems."""
    for index, override in enumerate(overrides):
        place = Place(f"--set {describe(override)}", (1, index, 0))
        key, separator, text = override.partition("=")
        path = tuple(key.strip().split("."))
        if not separator or not all(path):
            document.problems.append(_malformed(place))
            continue
        value = parse_yaml(text, locate=partial(_locate, place))
        document.problems += value.problems
        if not value.problems:
            _put(document, path, value, place)


def _locate(place: Place, _line: int, _column: int, text: str) -> Place:
    return replace(place, text=text)


def _malformed(place: Place) -> Problem:
    return place.problem((), "must be key.path=value", remedy="for example --set search.trials=8")


def _put(document: Document, path: tuple[str, ...], given: Document, place: Place) -> None:
    node: Json = document.value
    at: KeyPath = ()
    for part in path[:-1]:
        child = node.get(part)
        if not isinstance(child, dict):
            # `model: mlp` is short for `model: {kind: mlp}`.
            child = {"kind": child} if at == () and part == "model" and isinstance(child, str) else {}
            _forget(document, (*at, part))
            node[part] = child
            document.keys[(*at, part)] = document.values[(*at, part)] = place
        node, at = child, (*at, part)
    _forget(document, path)
    if given.value is None:  # `--set space.momentum=null` leaves the key out
        node.pop(path[-1], None)
        return
    node[path[-1]] = given.value
    document.keys[path] = place
    document.keys |= {(*path, *inner): there for inner, there in given.keys.items()}
    document.values |= {(*path, *inner): there for inner, there in given.values.items()}
    document.values.setdefault(path, place)


def _forget(document: Document, path: KeyPath) -> None:
    """Drop the places of a value that is replaced, and of all that was in it."""
    for places in (document.keys, document.values):
        for known in [p for p in places if p[: len(path)] == path]:
            del places[known]
