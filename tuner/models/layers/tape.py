"""A recorded program: closures over preallocated tensors, run in order for each step.

Recording once and replaying leaves no shape arithmetic, allocation or autograd graph in the step, and is what a
CUDA graph captures.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import torch
from torch import Tensor

from tuner.models.layers.widths import padded

Operation = Callable[[], object]


def batch_last(activation: Tensor) -> Tensor | None:
    """The memory, (K, C, H, W, B), of an activation (K, B, C, H, W) whose examples lie side by side; else None."""
    if activation.dim() != 5 or activation.is_contiguous():
        return None
    memory = activation.permute(0, 2, 3, 4, 1)
    return memory if memory.is_contiguous() else None


class TapeMemory:
    """The buffers of a tape. They know no operation: what holds them is no part of a cycle, and freed at once;
    so an operation must not refer to its tape.

    Tapes of one network for other numbers of examples may share memory, since one of them runs at a time: the n-th
    buffer of each begins at the same place. What one of them leaves there another one overwrites, and numbers that none
    writes (features that rounding added) stay zero, for they lie at the same places along the last axis.
    """

    def __init__(self, device: torch.device, shared: list[Tensor]) -> None:
        self._device = device
        self._shared = shared
        self._num_buffers = 0
        self._flat: dict[int, Tensor] = {}
        self._gradients: dict[int, Tensor] = {}

    def buffer(self, *shape: int) -> Tensor:
        """A tensor whose memory goes on to a multiple of the vector length: see `flat`."""
        size, number = prod(shape), self._num_buffers
        self._num_buffers += 1
        if number == len(self._shared):
            self._shared.append(torch.zeros(padded(size), device=self._device))
        elif len(self._shared[number]) < size:
            self._shared[number] = torch.zeros(padded(size), device=self._device)
        flat = self._shared[number][: padded(size)]
        view = flat[:size].view(shape)
        self._flat[view.data_ptr()] = flat
        return view

    def images(self, *shape: int) -> Tensor:
        """A buffer of shape (K, B, C, H, W) whose examples lie side by side: in memory it is (K, C, H, W, B).

        What is shifted or pooled then moves in long runs, and a channel of a batch is a row of a matrix.
        """
        num_trials, batch, *image = shape
        return self.buffer(num_trials, *image, batch).permute(0, 4, 1, 2, 3)

    def like(self, activation: Tensor) -> Tensor:
        """A buffer of the shape and layout of an activation."""
        shape = activation.shape
        return self.images(*shape) if batch_last(activation) is not None else self.buffer(*shape)

    def flat(self, view: Tensor) -> Tensor:
        """The whole memory of a buffer, one-dimensional: elementwise functions on it have no scalar remainder."""
        return self._flat[view.data_ptr()]

    def gradient(self, activation: Tensor) -> Tensor:
        """The buffer of an activation's gradient, in its shape; made when it is first asked for."""
        memory = activation.data_ptr()
        if memory not in self._gradients:
            self._gradients[memory] = self.like(activation)
        return self._gradients[memory].view(activation.shape)


class Tape:
    """Forward and backward operations for K trials and batches of B examples."""

    def __init__(
        self,
        batch_size: int,
        *,
        num_trials: int,
        device: torch.device,
        training: bool,
        half: bool = False,
        shared: list[Tensor] | None = None,
    ) -> None:
        """Begin an empty tape.

        Args:
            batch_size: B.
            num_trials: K.
            device: Of all tensors.
            training: Whether there is a backward pass.
            half: Multiply matrices in bfloat16.
            shared: Memory of tapes of the same network, of which one runs at a time; the largest should be made first.
        """
        self.num_trials = num_trials
        self.batch_size = batch_size
        self.device = device
        self.training = training
        self.half = half
        self.memory = TapeMemory(device, [] if shared is None else shared)
        self.forward: list[Operation] = []
        self.backward: list[Operation] = []
        """In order of the layers; it is run from the end."""
        self.rectified: list[Tensor] = []
        """Outputs of the ReLUs, in order of the layers; they hold until the next run."""

    def run_forward(self) -> None:
        for operation in self.forward:
            operation()
