"""Never the same configuration twice, as long as there is another."""

from __future__ import annotations

import itertools
from collections.abc import Set

import numpy as np

from tuner.records import Params, ParamValue
from tuner.spec.space import Dimension, Space

ENUMERATION_LIMIT = 4096
"""Up to so many configurations a space is listed in full; above it, chance repeats are moved to a neighbour."""

Key = tuple[tuple[str, ParamValue], ...]


def key_of(params: Params) -> Key:
    """What makes two configurations the same."""
    return tuple(sorted(params.items()))


def values_of(dimension: Dimension) -> tuple[ParamValue, ...] | None:
    """All values of a dimension, ascending; None for a continuum."""
    if dimension.kind == "categorical":
        return dimension.choices
    count = dimension.num_values
    if count is None or count > ENUMERATION_LIMIT:
        return None
    return tuple(dimension.value_at(k) for k in range(count))


def configurations(space: Space) -> tuple[dict[str, ParamValue], ...] | None:
    """Every configuration of a small discrete space; None for one that is large or has a continuum."""
    axes = [values_of(d) for d in space]
    if any(axis is None for axis in axes):
        return None
    total = 1
    for axis in axes:
        total *= len(axis or ())
        if total > ENUMERATION_LIMIT:
            return None
    names = space.names
    found = {}
    for combination in itertools.product(*(axis or () for axis in axes)):
        params = space.complete(dict(zip(names, combination, strict=True)))
        found[key_of(params)] = params
    return tuple(found.values())


class Distinct:
    """Replaces a proposal that was tried before by the nearest one that was not."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._all = configurations(space)
        self._keys = {key_of(p) for p in self._all} if self._all is not None else None
        self._units = np.array([space.to_units(p) for p in self._all]) if self._all else None

    def left(self, taken: Set[Key]) -> int | None:
        """How many configurations have not been tried; None where they cannot run out."""
        return None if self._keys is None else len(self._keys - taken)

    def untried(
        self, params: dict[str, ParamValue], *, taken: Set[Key], rng: np.random.Generator
    ) -> dict[str, ParamValue] | None:
        """The proposal itself if it is new, else the nearest that is; None once all have been tried."""
        if key_of(params) not in taken:
            return params
        units = np.array(self._space.to_units(params))
        if self._all is not None:
            assert self._units is not None
            nearest_first = np.argsort(np.abs(self._units - units).sum(axis=1), kind="stable")
            return next((self._all[i] for i in nearest_first if key_of(self._all[i]) not in taken), None)
        for spread in np.geomspace(0.01, 1.0, 60):
            moved = self._space.from_units(list(np.clip(units + rng.normal(0.0, spread, len(units)), 0.0, 1.0)))
            if key_of(moved) not in taken:
                return moved
        return None
