"""The search space as a cube of numbers for a model: one column for each hyperparameter that can vary."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tuner.records import Params, ParamValue
from tuner.search.distinct import values_of
from tuner.spec.space import Dimension, Space

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Cube:
    """Points are rows of unit coordinates, shape (points, columns); fixed dimensions have no column."""

    def __init__(self, space: Space) -> None:
        self.space = space
        self.dimensions: tuple[Dimension, ...] = tuple(d for d in space if not d.fixed)
        self.tiers = np.array([d.tier for d in self.dimensions], dtype=int)
        self.unordered: Mask = np.array([not d.ordered for d in self.dimensions], dtype=bool)
        """Columns of choices without order: any two of them are equally far apart."""
        self.default: Array = self.units(space.default())
        self._column = {d.name: j for j, d in enumerate(self.dimensions)}
        self._tables: list[Array | None] = [_table(d) for d in self.dimensions]

    @property
    def columns(self) -> int:
        return len(self.dimensions)

    def units(self, params: Params) -> Array:
        """The point of a configuration; where a parameter does not apply, its default."""
        return np.array([d.to_unit(params.get(d.name, d.default)) for d in self.dimensions])

    def params(self, point: Array) -> dict[str, ParamValue]:
        """The configuration at a point; floats in six digits, so that 0.01 is no 0.010000000000000002."""
        return self.space.complete(
            {d.name: readable(d, d.from_unit(float(u))) for d, u in zip(self.dimensions, point, strict=True)}
        )

    def snap(self, points: Array) -> Array:
        """Move points to where configurations lie: to grid values, and to defaults where a parameter does not apply."""
        snapped = np.clip(points, 0.0, 1.0)
        for j, table in enumerate(self._tables):
            if table is not None:
                edges = (table[1:] + table[:-1]) / 2
                snapped[:, j] = table[np.searchsorted(edges, snapped[:, j])]
        active = np.ones(snapped.shape, dtype=bool)
        for j, dimension in enumerate(self.dimensions):
            for name, allowed in dimension.when.items():
                active[:, j] &= self._holds(name, allowed, snapped, active)
            snapped[~active[:, j], j] = self.default[j]
        return snapped

    def _holds(self, name: str, allowed: Sequence[ParamValue], points: Array, active: Mask) -> Mask:
        parent = self.space[name]
        column = self._column.get(name)
        if column is None:  # the parent is fixed
            return np.full(len(points), parent.from_unit(0.5) in allowed)
        units = [parent.to_unit(value) for value in allowed if parent.contains(value)]
        holds: Mask = np.isclose(points[:, column, None], units).any(axis=1) & active[:, column]
        return holds


def _table(dimension: Dimension) -> Array | None:
    values = values_of(dimension)
    return None if values is None else np.array([dimension.to_unit(value) for value in values])


def readable(dimension: Dimension, value: ParamValue) -> ParamValue:
    """A value of the dimension, floats in six digits."""
    if dimension.kind != "float" or dimension.step is not None:
        return value
    return min(dimension.high, max(dimension.low, float(f"{float(value):.6g}")))
