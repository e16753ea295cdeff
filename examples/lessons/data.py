"""Data of the lessons in sweeps/course: made here, so that what cannot be learnt of them is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits

Arrays = dict[str, npt.NDArray[Any]]

MISLABELLED, FEW = 0.2, 300
NOISE, EXAMPLES, FEATURES = 0.3, 2000, 4
BLUR, GRAIN = 0.5, 0.1
"""Of photographs: in pixels, and a standard deviation where a pixel is in [0, 1]."""


def mislabelled_digits(data: Any) -> Arrays:
    """Few digits to train on, a fifth of them with the label of another class; the labels of dev examples are right."""
    pixels, labels = load_digits(return_X_y=True)
    draw = np.random.default_rng(data.seed)
    order = draw.permutation(len(labels))
    train, dev = order[:FEW], order[FEW:]
    wrong = draw.random(FEW) < MISLABELLED
    given = np.where(wrong, (labels[train] + draw.integers(1, 10, size=FEW)) % 10, labels[train])
    return {"x_train": pixels[train], "y_train": given, "x_dev": pixels[dev], "y_dev": labels[dev]}


def noisy_surface(data: Any) -> Arrays:
    """A smooth function of inputs from -1 to 1, and noise on its values, of which the standard deviation is `NOISE`."""
    draw = np.random.default_rng(data.seed)
    x = draw.uniform(-1.0, 1.0, size=(2 * EXAMPLES, FEATURES))
    y = np.sin(3.0 * x[:, 0]) + x[:, 1] * x[:, 2] + draw.normal(0.0, NOISE, size=len(x))
    return {"x_train": x[:EXAMPLES], "y_train": y[:EXAMPLES], "x_dev": x[EXAMPLES:], "y_dev": y[EXAMPLES:]}


def photographed_digits(data: Any) -> Arrays:
    """Scans to train on, and photographs, which are blurred, shifted by up to a pixel and grainy, to do well on."""
    scans, labels = _digits(data.seed)
    train, dev = np.arange(len(labels)) < 0.4 * len(labels), np.arange(len(labels)) >= 0.6 * len(labels)
    return {
        "x_train": scans[train],
        "y_train": labels[train],
        "x_dev": _photographed(scans[dev], seed=data.seed),
        "y_dev": labels[dev],
    }


def scanned_digits(data: Any) -> Arrays:
    """The same training examples, and a train-dev set: scans that no network is trained on."""
    scans, labels = _digits(data.seed)
    place = np.arange(len(labels)) / len(labels)
    train, held_out = place < 0.4, (place >= 0.4) & (place < 0.6)
    return {"x_train": scans[train], "y_train": labels[train], "x_dev": scans[held_out], "y_dev": labels[held_out]}


def _digits(seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Images of shape (examples, 1, 8, 8), pixels in [0, 1], and their classes, in an order drawn by `seed`."""
    pixels, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    return (pixels[order].reshape(-1, 1, 8, 8) / 16.0).astype(np.float32), labels[order]


def _photographed(scans: npt.NDArray[np.float32], *, seed: int) -> npt.NDArray[np.float32]:
    draw = np.random.default_rng(seed)
    blurred = gaussian_filter(scans, sigma=(0.0, 0.0, BLUR, BLUR))
    moves = draw.integers(-1, 2, size=(len(scans), 2))
    moved = np.stack([np.roll(image, move, axis=(1, 2)) for image, move in zip(blurred, moves, strict=True)])
    return (moved + draw.normal(0.0, GRAIN, size=moved.shape)).astype(np.float32)
