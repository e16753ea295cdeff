"""The contact sheet of augmented examples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tuner.report.figures.style import new_figure, styled, to_png
from tuner.report.files import write_output

_ROW_INCHES = 0.48


def write_contact_sheet(path: Path, rows: Sequence[tuple[str, NDArray[np.float32]]], *, strength: float) -> None:
    """Draw rows of images into a PNG file.

    Args:
        path: Of the file.
        rows: The name of each row and its images, of shape (examples, channels, height, width); the first row is as
            the examples are, and its range of values is that of black and white.
        strength: Of the augmentation.
    """
    low, high = (float(np.percentile(rows[0][1], q)) for q in (0.5, 99.5))
    with styled():
        figure = new_figure(height_inches=_ROW_INCHES * len(rows) + 0.3)
        figure.suptitle(f"augment: {strength:g}")
        for number, (name, images) in enumerate(rows, start=1):
            axes = figure.add_subplot(len(rows), 1, number)
            axes.imshow(
                _strip(np.clip((images - low) / max(high - low, 1e-9), 0.0, 1.0)), cmap="gray", vmin=0.0, vmax=1.0
            )
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(visible=False)
            axes.set_ylabel(name, rotation=0, ha="right", va="center")
            for spine in axes.spines.values():
                spine.set_visible(False)
        write_output(path, to_png(figure))


def _strip(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Images side by side on white: (height, width) of the first channel, or (height, width, 3) of three."""
    num, channels, height, width = images.shape
    gap = max(1, width // 8)
    shown = images if channels == 3 else images[:, :1]
    strip = np.ones((height, num * (width + gap) - gap, shown.shape[1]), dtype=np.float32)
    for place, image in enumerate(shown):
        left = place * (width + gap)
        strip[:, left : left + width] = image.transpose(1, 2, 0)
    return strip if channels == 3 else strip[:, :, 0]
