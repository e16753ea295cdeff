"""Never the same configuration twice, as long as there is another."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Set

import numpy as np
from numpy.typing import NDArray

from tuner.records import Params, ParamValue, TrialRecord
from tuner.spec.space import Dimension, Space
from tuner.trials import Trials

_ENUMERATION_LIMIT = 4096
"""Up to so many configurations a space is listed in full; above it, chance repeats are moved to a neighbour."""

Key = tuple[tuple[str, ParamValue], ...]


def key_of(params: Params) -> Key:
    """What makes two configurations the same."""
    return tuple(sorted(params.items()))


def _key_of_trial(record: TrialRecord) -> Key:
    return key_of(record.params)


def taken_by(trials: Trials) -> Set[Key]:
    """The configurations that have been tried; follows the trials."""
    return trials.held(_key_of_trial).keys()


def values_of(dimension: Dimension) -> tuple[ParamValue, ...] | None:
    """All values of a dimension, ascending; None for a continuum."""
    if dimension.kind == "categorical":
        return dimension.choices
    count = dimension.num_values
    if count is None or count > _ENUMERATION_LIMIT:
        return None
    return tuple(dimension.value_at(k) for k in range(count))


def configurations(
    space: Space, *, like: Params | None = None, moving: Collection[str] | None = None
) -> tuple[dict[str, ParamValue], ...] | None:
    """Every configuration of a small discrete space; None for one that is large or has a continuum.

    Args:
        space: What is searched.
        like: The values of the hyperparameters that do not move.
        moving: The names of those that move; all if left out.
    """
    names = [name for name in space.names if moving is None or name in moving]
    axes = [values_of(space[name]) for name in names]
    if any(axis is None for axis in axes):
        return None
    total = 1
    for axis in axes:
        total *= len(axis or ())
        if total > _ENUMERATION_LIMIT:
            return None
    found = {}
    for combination in itertools.product(*(axis or () for axis in axes)):
        params = space.complete({**(like or {}), **dict(zip(names, combination, strict=True))})
        found[key_of(params)] = params
    return tuple(found.values())


class Taken(Set[Key]):
    """What has been tried, and what is about to be: several sets as one, and what is added to it."""

    def __init__(self, *tried: Set[Key]) -> None:
        self._added: set[Key] = set()
        self._sets = (*tried, self._added)

    def add(self, key: Key) -> None:
        self._added.add(key)

    def __contains__(self, key: object) -> bool:
        return any(key in keys for keys in self._sets)

    def __iter__(self) -> Iterator[Key]:
        for place, keys in enumerate(self._sets):
            yield from (key for key in keys if not any(key in before for before in self._sets[:place]))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Distinct:
    """Replaces a proposal that was tried before by the nearest one that was not, among those that may be tried now."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._all = configurations(space)
        self._keys = {key_of(p) for p in self._all} if self._all is not None else None
        self._units = np.array([space.to_units(p) for p in self._all]) if self._all else None

    def left(self, taken: Set[Key]) -> int | None:
        """How many configurations have not been tried; None where they cannot run out."""
        return None if self._keys is None else sum(key not in taken for key in self._keys)

    def untried(
        self,
        params: dict[str, ParamValue],
        *,
        taken: Set[Key],
        rng: np.random.Generator,
        moving: Collection[str] | None = None,
    ) -> dict[str, ParamValue] | None:
        """The proposal itself if it is new, else the nearest that is; None once all have been tried.

        Args:
            params: The proposal.
            taken: What has been tried.
            rng: Chance.
            moving: The names of what may move; all if left out. The others keep their values to the last digit.
        """
        if key_of(params) not in taken:
            return params
        units = np.array(self._space.to_units(params))
        if moving is None:
            listed, places = self._all, self._units
        else:
            listed = configurations(self._space, like=params, moving=moving)
            places = None if listed is None else np.array([self._space.to_units(p) for p in listed])
        if listed is not None:
            assert places is not None
            nearest_first = np.argsort(np.abs(places - units).sum(axis=1), kind="stable")
            return next((listed[i] for i in nearest_first if key_of(listed[i]) not in taken), None)
        for spread in np.geomspace(0.01, 1.0, 60):
            moved = self._moved(params, units + rng.normal(0.0, spread, len(units)), moving)
            if key_of(moved) not in taken:
                return moved
        return None

    def _moved(
        self, params: Params, units: NDArray[np.float64], moving: Collection[str] | None
    ) -> dict[str, ParamValue]:
        drawn = zip(self._space, np.clip(units, 0.0, 1.0), strict=True)
        values = {d.name: d.from_unit(u) for d, u in drawn if moving is None or d.name in moving}
        return self._space.complete({**params, **values})
