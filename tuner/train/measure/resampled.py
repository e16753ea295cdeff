"""A metric of the user's on resamples of the dev set, for the intervals of reports, which run no code of the user's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_MOST = 200
"""Resamples."""
_LEAST = 50
"""With fewer an interval says nothing."""
_SECONDS = 0.2
"""For all of them: a metric that takes longer has none."""


def resampled(
    metric: Callable[[Tensor, Tensor], float], outputs: Tensor, targets: Tensor
) -> NDArray[np.float64] | None:
    """The metric of all examples, and of resamples of them, the same ones for each trial.

    Args:
        metric: Of outputs and targets; on a resample it may fail.
        outputs: Shape (examples, outputs).
        targets: Of the same examples.

    Returns:
        Shape (1 + resamples,), NaN where the metric is none; None where it takes too long.
    """
    count, draw = len(targets), np.random.default_rng(0)
    began = time.perf_counter()
    values = [metric(outputs, targets)]
    fitting = int(_SECONDS / max(time.perf_counter() - began, 1e-6))
    if fitting < _LEAST:
        return None
    for _ in range(min(_MOST, fitting)):
        rows = torch.from_numpy(draw.integers(count, size=count)).to(outputs.device)
        try:
            values.append(float(metric(outputs[rows], targets[rows])))
        except Exception:  # of a resample that lacks a class, perhaps
            values.append(math.nan)
    return np.array(values, dtype=np.float64)
