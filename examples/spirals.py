"""A data set of one's own: three spirals in the plane, one class each. See sweeps/custom_model.yaml."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def spirals() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Inputs of shape (examples, 2) and the class of each; the same at every call."""
    num_classes, num_points = 3, 300
    rng = np.random.default_rng(0)
    radius = np.tile(np.linspace(0.1, 1.0, num_points), num_classes)
    targets = np.repeat(np.arange(num_classes), num_points)
    angle = 4.0 * radius + 2.0 * np.pi * targets / num_classes + rng.normal(0.0, 0.2, radius.size)
    inputs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return inputs.astype(np.float32), targets.astype(np.int64)
