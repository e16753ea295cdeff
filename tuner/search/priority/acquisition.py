"""Where to look next: the expected improvement of points, and the points that are worth asking about."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from scipy.special import erfcx, log_ndtr

from tuner.search.cube import Array, Cube, Mask

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
_STEPS = (0.3, 0.12, 0.04)
"""Standard deviations of local moves, in unit coordinates; each move has one of them."""
_UNIFORM_SHARE = 0.1
"""Of the moved coordinates, so many are drawn uniformly instead."""
_UPWARDS_SHARE = 0.5
"""Of the moves in favoured columns, so many are upwards for certain."""
_MOVED = {1: 0.8, 2: 0.5}
_MOVED_LATER = 0.3
"""Chance that a local move changes a coordinate of tier 1, of tier 2, of later tiers: soft priority. What a wrong
order costs: `benchmarks/search_quality.py --shuffle-tiers`."""


def log_expected_improvement(mean: Array, deviation: Array, incumbent: float) -> Array:
    """Logarithm of the expected improvement over the incumbent (arXiv 2310.20708); finite however small it is."""
    z = (mean - incumbent) / deviation
    near = z > -1.0
    result = np.empty_like(z)
    result[near] = np.log(z[near] * np.exp(log_ndtr(z[near])) + np.exp(-0.5 * z[near] ** 2 - _LOG_ROOT_2PI))
    far = z[~near]
    # 1 + z * Phi(z) / phi(z), which loses all its digits by subtraction far from the incumbent.
    rest = 1.0 + far * math.sqrt(math.pi / 2) * erfcx(-far / math.sqrt(2))
    tail = np.where(far > -1e3, np.log(np.maximum(rest, 1e-300)), -2.0 * np.log(-far))
    result[~near] = -0.5 * far**2 - _LOG_ROOT_2PI + tail
    return result + np.log(deviation)


class Candidates:
    """Draws points of a cube: some anywhere, others around the best known ones."""

    def __init__(
        self,
        cube: Cube,
        *,
        open_columns: Mask,
        upwards: Mask,
        rng: np.random.Generator,
        held: Mapping[int, float] = MappingProxyType({}),
    ) -> None:
        """
        Args:
            cube: The space.
            open_columns: Columns that may move; the others stay as they are at a base, or at their default.
            upwards: Columns of which larger values are favoured.
            rng: Chance.
            held: Unit coordinates that all points have, by column.
        """
        self._cube = cube
        self._held = held
        self._open = open_columns & ~np.isin(np.arange(cube.columns), list(held))
        self._upwards = upwards
        self._rng = rng
        tiers = cube.tiers
        moved = np.where(tiers <= 1, _MOVED[1], np.where(tiers == 2, _MOVED[2], _MOVED_LATER))
        self._chance: Array = np.where(self._open, moved, 0.0)

    def anywhere(self, count: int) -> Array:
        """Uniform points, shape (count, columns)."""
        points = self._rng.random((count, self._cube.columns))
        return self._kept(self._cube.snap(np.where(self._open, points, self._cube.default)))

    def around(self, bases: Array, count: int) -> Array:
        """Points near the bases, shape (count, columns); early tiers move more often."""
        rng, shape = self._rng, (count, self._cube.columns)
        base = bases[rng.integers(len(bases), size=count)]
        moved = rng.random(shape) < self._chance
        still = np.flatnonzero(~moved.any(axis=1))
        moved[still, rng.choice(np.flatnonzero(self._open), size=len(still))] = True
        step = rng.standard_normal(shape) * rng.choice(_STEPS, size=(count, 1))
        step = np.where(self._upwards & (rng.random(shape) < _UPWARDS_SHARE), np.abs(step), step)
        uniform = (rng.random(shape) < _UNIFORM_SHARE) | self._cube.unordered
        target = np.where(uniform, rng.random(shape), base + step)
        return self._kept(self._cube.snap(np.where(moved, target, base)))

    def near(self, bases: Array, *, each: int, step: float) -> Array:
        """Small moves from every base, `each` of them, half of the coordinates at a time."""
        points = np.repeat(bases, each, axis=0)
        moved = (self._rng.random(points.shape) < 0.5) & self._open & ~self._cube.unordered
        return self._cube.snap(points + np.where(moved, self._rng.standard_normal(points.shape) * step, 0.0))

    def _kept(self, points: Array) -> Array:
        for column, unit in self._held.items():
            points[:, column] = unit
        return points
