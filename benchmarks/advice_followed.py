"""What a report calls `Next`, written into a sweep file as a user would who takes it at its word."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Any

from ruamel.yaml import YAML

_VALUE = re.compile(r"(?:to|add|try|bounds:) (\{.*\}|\[.*\]|[^\s:,;]+)")


class Followed(StrEnum):
    """What came of a piece of advice."""

    CHANGED = "changed"
    STOP = "stop"
    """Nothing is left to be done but the test."""
    OUTSIDE = "outside"
    """It is nothing that a sweep file can say."""


def follow(document: dict[str, Any], key: str, change: str) -> Followed:
    """Change a sweep file's values by a step's key and words.

    Raises:
        ValueError: the words name no value for the key.
    """
    if not key:
        return Followed.STOP if change.startswith("nothing") or "tuner test" in change else Followed.OUTSIDE
    if change == "let the sweep run on":
        return Followed.OUTSIDE
    if key == "search.trials":
        document["search"]["trials"] = 2 * int(document["search"]["trials"])
        return Followed.CHANGED
    if change.startswith("search it"):
        document["space"][key.removeprefix("space.")] = {}
        return Followed.CHANGED
    found = _VALUE.search(change)
    if found is None or key == "data":
        if key in ("data", "model"):
            return Followed.OUTSIDE
        raise ValueError(f"{key}: {change}")
    value: Any = YAML(typ="safe").load(found[1])
    if key == "model" and value == "another":
        return Followed.OUTSIDE
    if key == "data.ignore":
        document["data"]["ignore"] = [*document["data"].get("ignore", ()), *value]
        return Followed.CHANGED
    *outer, last = key.split(".")
    block: Any = document
    for name in outer:
        if not isinstance(block.get(name), dict):  # `model: mlp` in short
            block[name] = {"kind": block[name]} if name == "model" else {}
        block = block[name]
    if last == "choices":
        block[last] = [*block[last], value]
    elif outer == ["space"] and isinstance(value, dict):
        block[last] = {**block.get(last, {}), **value}
    else:
        block[last] = value
    return Followed.CHANGED
