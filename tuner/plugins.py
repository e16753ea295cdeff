"""What other packages add to tuner: entry points, found by metadata alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Literal

Kind = Literal["strategies", "executors", "sources", "models", "metrics", "trackers", "formats"]
_NAME = re.compile(r"[A-Za-z][\w-]*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Plugin:
    """An entry point of the group `tuner.KIND`."""

    kind: Kind
    name: str
    place: str
    """`package.module:object`."""
    package: str
    """The distribution that brings it, with its version."""


@cache
def plugins(kind: Kind) -> Mapping[str, Plugin]:
    """The plug-ins of a kind by name; of two that share one, the first that Python finds."""
    found: dict[str, Plugin] = {}
    for point in entry_points(group=f"tuner.{kind}"):
        package = f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
        found.setdefault(point.name, Plugin(kind=kind, name=point.name, place=point.value, package=package))
    return found


def place_of(kind: Kind, name: str) -> str:
    """What a plug-in's name stands for, `package.module:object`; the name itself if it is none's."""
    plugin = plugins(kind).get(name) if _NAME.fullmatch(name) else None
    return name if plugin is None else plugin.place
