"""Two tasks with little in common but the pen: digits 0 to 4, and digits 5 to 9. See sweeps/transfer.yaml."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

Arrays = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]


def zero_to_four() -> Arrays:
    """Images of shape (examples, 1, 8, 8), pixels in [0, 1], and their classes."""
    return _digits(range(5))


def five_to_nine() -> Arrays:
    """The same of the other digits; the class of a 5 is 0."""
    return _digits(range(5, 10))


def _digits(chosen: range) -> Arrays:
    images, digits = load_digits(return_X_y=True)
    wanted = np.isin(digits, chosen)
    inputs = (images[wanted] / 16.0).astype(np.float32).reshape(-1, 1, 8, 8)
    return inputs, digits[wanted].astype(np.int64) - chosen.start
