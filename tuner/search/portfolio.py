"""Configurations learned beforehand on other data, to begin a search with: `search.portfolio`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tuner.records import Params, ParamValue
from tuner.search.cube import Array, Cube, Mask
from tuner.spec.defaults import searched_optimizers
from tuner.spec.known.hyperparameters import HYPERPARAMETERS
from tuner.spec.known.networks import MODELS
from tuner.spec.model import SweepSpec
from tuner.spec.portfolio import NO_PORTFOLIO, read_portfolio
from tuner.spec.space import Dimension, Space, tier_label

_OWN = "own"
"""Stands for any network of the user's."""
_SHIPPED = Path(__file__).with_name("portfolio.json")
"""Learned by `benchmarks/portfolio.py`, which says how in the file."""
_SHIPPED_NAME = "tuner's own portfolio"
_TABLES = re.compile(r"^sklearn/(?!digits)|\.(csv|tsv|tab|txt|parquet|pq)(\.(gz|bz2|xz|zip|zst))?$", re.IGNORECASE)
"""Names of sources that are tables, as all are that it was learned on: of digits' images it made no better searches."""
_LEAST_APART = 0.05
"""Of two configurations that differ by less of every range, the second is left out: what else told them apart is fixed
in this sweep."""


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a portfolio says of a sweep."""

    starts: tuple[Params, ...]
    """Configurations as they were learned, whatever the ranges of this space; none where it does not fit."""
    line: str
    """What to tell the user."""


def learned_starts(spec: SweepSpec, space: Space) -> Learned | None:
    """The configurations of the file that `search.portfolio` names, or of the one that comes with tuner.

    Returns:
        None where there is nothing to say: with `off`, and where the one that comes with tuner serves no such sweep.

    Raises:
        SweepFileError: the file cannot be read, or is no portfolio.
    """
    given = spec.search.portfolio
    if given == NO_PORTFOLIO or (given is None and not _may_begin_by_itself(spec)):
        return None
    path, name = (_SHIPPED, _SHIPPED_NAME) if given is None else (Path(spec.root, given), f"portfolio {given}")
    kind = spec.model.kind if spec.model.kind in MODELS and spec.loop is None else _OWN
    optimizer = searched_optimizers(spec)[0]
    entries = read_portfolio(path, given=given or _SHIPPED_NAME)
    entry = next((e for e in entries if kind in e.models and optimizer in e.optimizers), None)
    names = [] if entry is None else _names_in(entry.starts, space)
    if entry is None or not names:
        if given is None:
            return None
        what = f"model {spec.model.kind} with {optimizer}" if entry is None else "the hyperparameters of this space"
        return Learned(starts=(), line=f"{name} has nothing for {what}: the search begins without it")
    return Learned(
        starts=tuple(entry.starts),
        line=f"the search begins with configurations of {name}, which knows {', '.join(names)}",
    )


def _may_begin_by_itself(spec: SweepSpec) -> bool:
    """Whether the data are a table, and nobody asked for another beginning: by a strategy, or by tiers of their own."""
    if spec.search.strategy != "priority" or spec.loop is not None or not _TABLES.search(spec.data.source):
        return False
    tiers = ((HYPERPARAMETERS.get(name), part.tier) for name, part in (spec.space or {}).items())
    return all(known is None or tier in (None, known.tier, tier_label(known.tier)) for known, tier in tiers)


def _names_in(starts: Sequence[Params], space: Space) -> list[str]:
    return [d.name for d in space if not d.fixed and any(d.name in start for start in starts)]


def known_columns(cube: Cube, learned: Sequence[Params]) -> Mask:
    """The columns of which the configurations say something, shape (columns,)."""
    known: Mask = np.array([any(d.name in params for params in learned) for d in cube.dimensions], dtype=bool)
    return known


def learned_points(cube: Cube, learned: Sequence[Params], *, known: Mask) -> Array:
    """The points nearest to the configurations in these columns, at their defaults in the others.

    Returns:
        Shape (points, columns), in the order of the configurations, without those that are nearly another one or the
        default.
    """
    points = np.tile(cube.default, (len(learned), 1))
    for row, params in enumerate(learned):
        for column in np.flatnonzero(known):
            dimension = cube.dimensions[column]
            if dimension.name in params:
                points[row, column] = _nearest_unit(dimension, params[dimension.name])
    taken = cube.default[None]
    for point in cube.snap(points):
        if np.abs(taken - point).max(axis=1).min() >= _LEAST_APART:
            taken = np.vstack([taken, point])
    return taken[1:]


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
