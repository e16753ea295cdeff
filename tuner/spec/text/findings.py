"""Collects what the checks find, and knows where in the file each of it stands."""

from __future__ import annotations

from tuner.records import Json
from tuner.spec.text.document import Document
from tuner.spec.text.problems import KeyPath, Place, Problem, lines

_ONLY_IN_MODELS = ("settings", "shares", "auto", "whole", "parts")
"""Parts of a pydantic location that a file need not have: the settings beside `kind`, and the forms of `split`."""


class Findings:
    """Errors and warnings about one sweep file."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._errors: list[Problem] = list(document.problems)
        self._warnings: list[Problem] = []
        self._unusable: set[KeyPath] = set()

    @property
    def errors(self) -> tuple[str, ...]:
        """One line for each error, in the order of the file."""
        return lines(self._errors)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line for each warning, in the order of the file."""
        return lines(self._warnings)

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def error(
        self, path: KeyPath, rule: str, *, remedy: str = "", got: str | None = None, at_key: bool = False
    ) -> None:
        """Something that must be mended. Said once: not where a value on the same path is unusable anyway.

        Args:
            path: Keys down to the value; one that is not in the file is shown at the nearest that is.
            rule: What must hold, as in `must be at least 1`.
            remedy: What to write instead.
            got: The value; as it is written in the file if None.
            at_key: Point to the key and say nothing of its value.
        """
        if not self._is_moot(path, at_key):
            self._errors.append(self._problem(path, rule, remedy, got, at_key))

    def warn(self, path: KeyPath, rule: str, *, remedy: str = "", got: str | None = None, at_key: bool = False) -> None:
        """Something that is allowed and probably not meant; arguments as in `error`."""
        if not self._is_moot(path, at_key):
            self._warnings.append(self._problem(path, rule, remedy, got, at_key))

    def refuse(
        self, path: KeyPath, rule: str, *, remedy: str = "", got: str | None = None, at_key: bool = False
    ) -> None:
        """An error after which the value at the path cannot be used by other checks; arguments as in `error`."""
        self._errors.append(self._problem(path, rule, remedy, got, at_key))
        self._unusable.add(self.path_in_file(path))

    def written(self, path: KeyPath) -> str:
        """A value as it is written in the file, with its quotes; empty where it is not there."""
        place = self._document.values.get(self.path_in_file(path))
        return "" if place is None else place.text

    def is_unusable(self, *paths: KeyPath) -> bool:
        """Whether a value at, above or below one of these paths has been refused."""
        shown = [self.path_in_file(p) for p in paths]
        return any(p[: len(u)] == u[: len(p)] for p in shown for u in self._unusable)

    def _is_moot(self, path: KeyPath, at_key: bool) -> bool:
        """Whether the value has been refused anyway; the name of a block may be wrong beside what is in it."""
        if not at_key:
            return self.is_unusable(path)
        shown = self.path_in_file(path)
        return any(shown[: len(u)] == u for u in self._unusable)

    def path_in_file(self, path: KeyPath) -> KeyPath:
        """A path of the models as the file has it: `model.settings.width` may stand as `model.width`.

        It ends at a value that has no parts (`model: mlp` has no `model.kind`); what is missing stays named.
        """
        node: Json = self._document.value
        if path[:1] == ("objective",) and isinstance(node, dict) and isinstance(node.get("objective"), list):
            # The first of a list of objectives is the objective, the rest are its `others`.
            rest = path[2:] if path[1:2] == ("others",) else (-1, *path[1:]) if path[1:] else ()
            path = ("objective", *((int(rest[0]) + 1, *rest[1:]) if rest else ()))
        found: list[str | int] = []
        for index, part in enumerate(path):
            if _has(node, part):
                node = node[part]
                found.append(part)
            elif not isinstance(node, dict | list):
                break
            elif part not in _ONLY_IN_MODELS:
                return (*found, *path[index:])
        return tuple(found)

    def _problem(self, path: KeyPath, rule: str, remedy: str, got: str | None, at_key: bool) -> Problem:
        path = self.path_in_file(path)
        values, keys = self._document.values, self._document.keys
        place = keys.get(path) if at_key else values.get(path)
        if place is None:
            place = self._nearest_place(path)
            got = got or ""
        return place.problem(path, rule, got=(("" if at_key else place.text) if got is None else got), remedy=remedy)

    def _nearest_place(self, path: KeyPath) -> Place:
        """The key of the innermost block that is in the file."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._document.keys:
                return self._document.keys[path[:length]]
        return self._document.values[()]


def _has(node: Json, part: str | int) -> bool:
    if isinstance(node, dict):
        return part in node
    return isinstance(node, list) and isinstance(part, int) and part < len(node)
