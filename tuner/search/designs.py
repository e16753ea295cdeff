"""Designs that need no model: Sobol configurations and a grid, each a pure function of the point's number."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from tuner.records import ParamValue
from tuner.search.distinct import key_of, values_of
from tuner.search.seeding import derived_seed, generator
from tuner.spec.space import Dimension, Space

_GRID_PURPOSE = 3


def quasi_random(space: Space, first: int, count: int, *, seed: int) -> list[dict[str, ParamValue]]:
    """Configurations number `first` onwards of a scrambled Sobol sequence over the whole space."""
    if not len(space):
        return [{} for _ in range(count)]
    from tuner.search.sobol import sobol  # loads SciPy, which most who may ask for this never do

    points = sobol(first, count, dimensions=len(space), seed=derived_seed(seed, len(space)))
    return [space.from_units(list(point)) for point in points]


def grid(space: Space, *, size: int, seed: int) -> list[dict[str, ParamValue]]:
    """A grid of at most about `size` configurations in a shuffled order, so that a part of it is a fair sample too.

    Every dimension has its default alone at first; levels are then added in turn, first tier first, while the grid
    stays within the size.
    """
    counts = {d.name: 1 for d in space}
    limits = {d.name: len(v) if (v := values_of(d)) is not None else size for d in space}
    grown = True
    while grown:
        grown = False
        for name in space.names:
            more = math.prod(counts.values()) // counts[name] * (counts[name] + 1)
            if counts[name] < limits[name] and more <= size:
                counts[name] += 1
                grown = True
    axes = [_levels(d, counts[d.name]) for d in space]
    found = {}
    for combination in itertools.product(*axes):
        params = space.complete(dict(zip(space.names, combination, strict=True)))
        found[key_of(params)] = params
    order = generator(seed, _GRID_PURPOSE).permutation(len(found))
    listed = list(found.values())
    return [listed[i] for i in order]


def _levels(dimension: Dimension, count: int) -> Sequence[ParamValue]:
    if count == 1:
        return (dimension.default,)
    values = values_of(dimension)
    if values is not None:
        return tuple(values[round(i)] for i in np.linspace(0, len(values) - 1, count))
    levels = [dimension.from_unit(u) for u in np.linspace(0.0, 1.0, count)]
    return tuple(dict.fromkeys(levels))
