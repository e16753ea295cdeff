"""Configurations learned beforehand on other data, to begin a search with: `search.portfolio`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuner.records import Params, ParamValue
from tuner.search.cube import Array, Cube, Mask
from tuner.spec.defaults import searched_optimizers
from tuner.spec.known.networks import MODELS
from tuner.spec.model import SweepSpec
from tuner.spec.portfolio import NO_PORTFOLIO, read_portfolio
from tuner.spec.space import Dimension, Space

_OWN = "own"
"""Stands for any network of the user's."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a portfolio says of a sweep."""

    starts: tuple[Params, ...]
    """Configurations as they were learned, whatever the ranges of this space; none where it does not fit."""
    line: str
    """What to tell the user."""


def learned_starts(spec: SweepSpec, space: Space) -> Learned | None:
    """The configurations of the file that `search.portfolio` names; None where it names none, or says `off`.

    Raises:
        SweepFileError: the file cannot be read, or is no portfolio.
    """
    given = spec.search.portfolio
    if given is None or given == NO_PORTFOLIO:
        return None
    kind = spec.model.kind if spec.model.kind in MODELS and spec.loop is None else _OWN
    optimizer = searched_optimizers(spec)[0]
    entries = read_portfolio(Path(spec.root, given), given=given)
    entry = next((e for e in entries if kind in e.models and optimizer in e.optimizers), None)
    names = [] if entry is None else _names_in(entry.starts, space)
    if entry is None or not names:
        what = f"model {spec.model.kind} with {optimizer}" if entry is None else "the hyperparameters of this space"
        return Learned(starts=(), line=f"portfolio {given} has nothing for {what}: the search begins without it")
    return Learned(
        starts=tuple(entry.starts),
        line=f"the search begins with configurations of portfolio {given}, which knows {', '.join(names)}",
    )


def _names_in(starts: Sequence[Params], space: Space) -> list[str]:
    return [d.name for d in space if not d.fixed and any(d.name in start for start in starts)]


def known_columns(cube: Cube, learned: Sequence[Params]) -> Mask:
    """The columns of which the configurations say something, shape (columns,)."""
    known: Mask = np.array([any(d.name in params for params in learned) for d in cube.dimensions], dtype=bool)
    return known


def learned_points(cube: Cube, learned: Sequence[Params], *, known: Mask) -> Array:
    """The points nearest to the configurations in these columns, at their defaults in the others.

    Returns:
        Shape (points, columns), in the order of the configurations, without repetitions and without the default.
    """
    points = np.tile(cube.default, (len(learned), 1))
    for row, params in enumerate(learned):
        for column in np.flatnonzero(known):
            dimension = cube.dimensions[column]
            if dimension.name in params:
                points[row, column] = _nearest_unit(dimension, params[dimension.name])
    points = cube.snap(points)
    _, first = np.unique(np.vstack([cube.default, points]), axis=0, return_index=True)
    return points[[place - 1 for place in sorted(first) if place]]


def _nearest_unit(dimension: Dimension, value: ParamValue) -> float:
    """The place of a value, or of the one nearest to it; of the default where none is near."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if dimension.kind != "categorical":
        return dimension.to_unit(value if is_number else dimension.default)
    if value in dimension.choices:
        return dimension.to_unit(value)
    numbers = [c for c in dimension.choices if isinstance(c, int | float) and not isinstance(c, bool)]
    if not is_number or not numbers:
        return dimension.to_unit(dimension.default)
    return dimension.to_unit(min(numbers, key=lambda c: abs(float(c) - float(value))))
