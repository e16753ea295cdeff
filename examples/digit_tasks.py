"""Two tasks with little in common but the pen: digits 0 to 4, and digits 5 to 9. See sweeps/transfer.yaml.

The digits lie anywhere on a noisy sheet. That a stroke means the same wherever it is, many examples can teach and few
cannot: it is what a network that has learnt the first task brings to the second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

Arrays = dict[str, npt.NDArray[Any]]

SHEET, NOISE = 16, 0.1
COPIES = 4
"""Sheets for each image of 0 to 4."""


def zero_to_four(*, seed: int = 0) -> Arrays:
    """Sheets `X` of shape (examples, 1, 16, 16), pixels about in [0, 1], their classes `y`, and whose `image` it is."""
    return _on_sheets(range(5), copies=COPIES, seed=seed)


def five_to_nine(*, seed: int = 0) -> Arrays:
    """The same of the other digits, one sheet for each image; the class of a 5 is 0."""
    return _on_sheets(range(5, 10), copies=1, seed=seed + 1)


def _on_sheets(digits: range, *, copies: int, seed: int) -> Arrays:
    pixels, labels = load_digits(return_X_y=True)
    images = np.repeat(np.flatnonzero(np.isin(labels, digits)), copies)
    draw = np.random.default_rng(seed)
    sheets = draw.normal(0.0, NOISE, size=(len(images), 1, SHEET, SHEET)).astype(np.float32)
    places = draw.integers(SHEET - 7, size=(len(sheets), 2))
    for sheet, image, (row, column) in zip(sheets, images, places, strict=True):
        sheet[0, row : row + 8, column : column + 8] += pixels[image].reshape(8, 8) / 16.0
    return {"X": sheets, "y": labels[images].astype(np.int64) - digits.start, "image": images}
