"""How deep the tests look: everything under `make deep`, a third of each property's examples otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import pytest

DEEP = os.environ.get("TUNER_DEPTH") == "deep"


def but_deep(values: Iterable[Any], *dear: Any) -> list[Any]:
    """The values of a parameter, of which the dear ones are left to a deep look."""
    deep = pytest.mark.deep
    return [pytest.param(*_several(value), marks=deep) if value in dear else value for value in values]


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def at_depth(count: int) -> int:
    """How many examples a property is tried on, of those that a deep look takes."""
    return count if DEEP else max(5, count // 3)
