"""Sizes that are rounded up, so that vector instructions meet no remainder."""

from __future__ import annotations

WIDTH_GRID = 16
"""Stacked programs round the widths of dense layers up to a multiple of this, with zeros: 64 bytes of float32, so that
every matrix is aligned whatever its place in the stack, and trials of nearly equal width share one shape. Each
trial's rounded width depends on the trial alone."""
ALIGNMENT = 64
"""Numbers: four of the widest vectors that there are (16 of float32), as many as PyTorch's loops take at once."""
MOST_WINDOW_BYTES = 2**15
"""What the windows of one example may take where a convolution is a matrix product: they are written and read at the
speed of memory, and the library reads larger images where they lie."""


def rounded_width(width: int) -> int:
    """The next multiple of `WIDTH_GRID`."""
    return -(-width // WIDTH_GRID) * WIDTH_GRID


def by_windows(channels: int, *, kernel: int, positions: int) -> int:
    """The numbers of one example's windows where a convolution is a matrix product on a CPU; 0 where it is none."""
    numbers = channels * kernel**2 * positions
    return numbers if 4 * numbers <= MOST_WINDOW_BYTES else 0


def padded(size: int) -> int:
    """The next multiple of `ALIGNMENT`."""
    return -(-size // ALIGNMENT) * ALIGNMENT
