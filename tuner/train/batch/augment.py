"""Augmentation of images on the device: flip, shift, rotation, zoom, cutout and noise.

What happens to an image is drawn on the host, for a whole epoch of one trial, as a row of numbers (`draw_rows`); the
images themselves are changed where they lie, many at once (`transform`). Both treat each image by itself, so that its
bits do not depend on the batch or on the cohort that it is in.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tuner.models.keyed import generator
from tuner.train.settings import Augmentation

_MAX_SHIFT = 0.2
"""Of the size of the image, at strength 1."""
_MAX_ANGLE = math.radians(30)
_MAX_ZOOM = 0.25
_MAX_CUTOUT = 0.5
"""Side of the square, of the size of the image."""
MAX_NOISE = 0.3
"""Standard deviation, where the inputs have 1."""

_NUM_DRAWS = 8
NUM_COLUMNS = 9
"""Of `draw_rows`."""


def draw_rows(augmentation: Augmentation, seed: int, epoch: int, num_examples: int, aspect: float) -> Tensor:
    """What happens to each training example of a trial in an epoch, shape (examples, NUM_COLUMNS).

    Columns: the affine map from a place in the new image to one in the old (x from x, y, 1; y from x, y, 1, in
    coordinates from -1 to 1), then the middle (x, y) of the square that is cut out and half its side.

    Args:
        augmentation: The trial's.
        seed: The trial's.
        epoch: Counted from 0.
        num_examples: Training examples.
        aspect: Height of the images by their width.
    """
    strength = augmentation.strength
    drawn = torch.rand(num_examples, _NUM_DRAWS, generator=generator(seed, "augment", epoch), dtype=torch.float64)
    signed = (2.0 * drawn - 1.0) * strength
    none = torch.zeros(num_examples, dtype=torch.float64)
    mirror = torch.where(drawn[:, 0] < strength / 2, -1.0, 1.0) if augmentation.flip else none + 1.0
    angle = signed[:, 1] * _MAX_ANGLE if augmentation.rotate else none
    scale = (1.0 + _MAX_ZOOM) ** signed[:, 2] if augmentation.zoom else none + 1.0
    shift_x, shift_y = (signed[:, i] * 2 * _MAX_SHIFT if augmentation.shift else none for i in (3, 4))
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    centre_x, centre_y = (2.0 * drawn[:, i] - 1.0 for i in (5, 6))
    half_side = none + (_MAX_CUTOUT * strength if augmentation.cutout else 0.0)
    columns = (
        cos * mirror, -sin * aspect * mirror, shift_x,
        sin / aspect, cos, shift_y,
        centre_x, centre_y, half_side,
    )  # fmt: skip
    return torch.stack(columns, dim=1).float()


def transform(images: Tensor, rows: Tensor, augmentation: Augmentation) -> Tensor:
    """The images as their rows say, without noise.

    Args:
        images: (images, channels, height, width).
        rows: Of `draw_rows`, one for each image.
        augmentation: Says which kinds are on; the strength is in the rows.
    """
    height, width = images.shape[2:]
    x = ((2 * torch.arange(width, device=images.device) + 1) / width - 1).view(1, 1, -1)
    y = ((2 * torch.arange(height, device=images.device) + 1) / height - 1).view(1, -1, 1)
    column = [rows[:, i].view(-1, 1, 1) for i in range(rows.shape[1])]
    if augmentation.moves:
        # Sums of products one by one: a matrix product would round differently in batches of another size.
        from_x = column[0] * x + column[1] * y + column[2]
        from_y = column[3] * x + column[4] * y + column[5]
        grid = torch.stack([from_x, from_y], dim=-1)
        images = torch.nn.functional.grid_sample(
            images, grid, mode="bilinear", padding_mode="border", align_corners=False
        )
    if augmentation.cutout:
        inside = ((x - column[6]).abs() < column[8]) & ((y - column[7]).abs() < column[8])
        images = images.masked_fill(inside.unsqueeze(1), 0.0)
    return images
