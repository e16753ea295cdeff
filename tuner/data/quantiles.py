"""Columns of numbers made normal: each value goes to where a normal variable has the same share of values below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

MOST_KNOTS = 256
"""Of a column's curve; boosting looks at as many bins."""

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Curve:
    """A rising function of one number: straight between knots, and level beyond the first and the last."""

    at: tuple[float, ...]
    """Values of the column, rising."""
    become: tuple[float, ...]

    def apply(self, values: npt.NDArray[Any]) -> _Floats:
        """What the values become; NaN stays NaN."""
        found: _Floats = np.interp(values, self.at, self.become)
        return found


def normal_curve(values: _Floats) -> Curve:
    """The curve that makes the values of a column normal; a value that is there many times has the middle of its ranks.

    Args:
        values: Of the training part, NaN where one is missing. One that has none else goes to 0.
    """
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return Curve((0.0,), (0.0,))
    # Knots at even ranks: where values repeat, all of their ranks count, not those that are knots by chance.
    chosen = known[np.linspace(0, len(known) - 1, min(MOST_KNOTS, len(known))).round().astype(np.intp)]
    at = np.unique(chosen)
    below, up_to = (np.searchsorted(known, at, side=side) for side in ("left", "right"))
    share = (below + up_to) / (2 * len(known))
    least = 0.5 / MOST_KNOTS
    become = torch.special.ndtri(torch.from_numpy(np.clip(share, least, 1 - least))).numpy()
    return Curve(tuple(at.tolist()), tuple(become.tolist()))
