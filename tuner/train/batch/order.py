"""The order in which examples on disk are visited: shuffled by blocks, so that what is read lies together."""

from __future__ import annotations

import torch
from torch import Tensor

from tuner.models.keyed import generator

BLOCK = 1024
"""Examples that lie together in the file and are visited near each other."""
WINDOW = 16
"""Blocks that are mixed."""


def block_order(seed: int, epoch: int, num_examples: int) -> Tensor:
    """The order of an epoch: int64, shape (examples,).

    The blocks of the file are put in random order; then, of every `WINDOW` of them, all examples are mixed. Data of
    one window are shuffled as those in memory are. Files that are sorted by class should be shuffled once before.
    """
    draw = generator(seed, "block order", epoch)
    blocks = list(torch.split(torch.arange(num_examples), BLOCK))
    chosen = torch.randperm(len(blocks), generator=draw).tolist()
    found = []
    for first in range(0, len(blocks), WINDOW):
        window = torch.cat([blocks[i] for i in chosen[first : first + WINDOW]])
        found.append(window[torch.randperm(len(window), generator=draw)])
    return torch.cat(found)
