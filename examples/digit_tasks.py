"""Two tasks with little in common but the pen: digits 0 to 4, and digits 5 to 9. See sweeps/transfer.yaml.

The digits lie anywhere on a noisy sheet. That a stroke means the same wherever it is, many examples can teach and few
cannot: it is what a network that has learnt the first task brings to the second.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

Arrays = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]

SHEET, NOISE = 12, 0.1


def zero_to_four() -> Arrays:
    """Images of shape (examples, 1, 12, 12), pixels about in [0, 1], and their classes."""
    return on_sheets(range(5))


def five_to_nine() -> Arrays:
    """The same of the other digits; the class of a 5 is 0."""
    return on_sheets(range(5, 10))


def on_sheets(digits: range, *, seed: int = 0) -> Arrays:
    """Each image of these digits somewhere on a sheet of its own."""
    images, labels = load_digits(return_X_y=True)
    chosen = np.isin(labels, digits)
    draw = np.random.default_rng(seed)
    sheets = draw.normal(0.0, NOISE, size=(int(chosen.sum()), 1, SHEET, SHEET)).astype(np.float32)
    places = draw.integers(SHEET - 7, size=(len(sheets), 2))
    for sheet, image, (row, column) in zip(sheets, images[chosen], places, strict=True):
        sheet[0, row : row + 8, column : column + 8] += image.reshape(8, 8) / 16.0
    return sheets, labels[chosen].astype(np.int64) - digits.start
