"""How deep the tests look: everything under `make deep`, a third of each property's examples otherwise."""

from __future__ import annotations

import os

DEEP = os.environ.get("TUNER_DEPTH") == "deep"


def at_depth(count: int) -> int:
    """How many examples a property is tried on, of those that a deep look takes."""
    return count if DEEP else max(5, count // 3)
