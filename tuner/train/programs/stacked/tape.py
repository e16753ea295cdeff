"""A recorded program: closures over preallocated tensors, run in order for each step.

Recording once and replaying leaves no shape arithmetic, allocation or autograd graph in the step, and is what a
CUDA graph captures.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from tuner.train.rows.rows import padded
from tuner.train.rows.step import Operation


class Tape:
    """Forward and backward operations for K trials and batches of B examples."""

    def __init__(
        self, batch_size: int, *, num_trials: int, device: torch.device, training: bool, half: bool = False
    ) -> None:
        self.num_trials = num_trials
        self.batch_size = batch_size
        self.device = device
        self.training = training
        self.half = half
        """Multiply matrices in bfloat16."""
        self.forward: list[Operation] = []
        self.backward: list[Operation] = []
        """In order of the layers; it is run from the end."""
        self.rectified: list[Tensor] = []
        """Outputs of the ReLUs, in order of the layers; they hold until the next run."""
        self._flat: dict[int, Tensor] = {}

    def buffer(self, *shape: int) -> Tensor:
        """A zeroed tensor whose memory goes on to a multiple of the vector length: see `flat`."""
        size = prod(shape)
        flat = torch.zeros(padded(size), device=self.device)
        view = flat[:size].view(shape)
        self._flat[view.data_ptr()] = flat
        return view

    def flat(self, view: Tensor) -> Tensor:
        """The whole memory of a buffer, one-dimensional: elementwise functions on it have no scalar remainder."""
        return self._flat[view.data_ptr()]

    def run_forward(self) -> None:
        for operation in self.forward:
            operation()
