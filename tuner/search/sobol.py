"""Scrambled Sobol points, by SciPy, which takes half a second to load, and 50 MB.

Strategies that draw no points do not import this. Those that do import it at their top, so that it loads while the
workers do, and not before the first decision.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc


def sobol(first: int, count: int, *, dimensions: int, seed: int) -> NDArray[np.float64]:
    """Points number `first` onwards of a scrambled Sobol sequence, shape (count, dimensions), in [0, 1]."""
    engine = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # balance needs a power of two; we draw as many as are wanted
        if first:
            engine.fast_forward(first)
        points: NDArray[np.float64] = engine.random(count)
    return points
