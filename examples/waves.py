"""Sequences to classify: noisy waves of four shapes, each of its own frequency, phase and loudness."""

from __future__ import annotations

import torch
from torch import Tensor

EXAMPLES = 1000
LENGTH = 32
NOISE = 0.3


def waves() -> tuple[Tensor, Tensor]:
    """Inputs of shape (examples, length, 1) and classes: sine, square, triangle, sawtooth."""
    draw = torch.Generator().manual_seed(0)
    shape = torch.arange(EXAMPLES) % 4
    frequency, phase, loudness = (torch.rand(EXAMPLES, 1, generator=draw) for _ in range(3))
    time = torch.arange(LENGTH) / LENGTH
    turn = ((1.5 + 2.5 * frequency) * time + phase) % 1.0
    kinds = torch.stack(
        [torch.sin(2 * torch.pi * turn), torch.sign(turn - 0.5), 1 - 4 * (turn - 0.5).abs(), 2 * turn - 1]
    )
    clean = kinds[shape, torch.arange(EXAMPLES)] * (0.5 + loudness)
    noisy = clean + NOISE * torch.randn(EXAMPLES, LENGTH, generator=draw)
    return noisy.unsqueeze(-1), shape
