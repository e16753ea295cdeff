"""The order in which an epoch visits the training examples: any, or where they stay on disk window by window."""

from __future__ import annotations

import torch
from torch import Tensor

from tuner.data.stored import StreamedInputs
from tuner.models.keyed import batch_order, generator


def epoch_order(inputs: Tensor | StreamedInputs, *, seed: int, epoch: int, batch_size: int) -> Tensor:
    """The order of an epoch: int64, shape (examples,).

    Windows follow each other, the same for all trials, so that a cohort reads each once; within a window all examples
    are mixed. A window is a fair sample of all (`tuner.data.stored.scattered`).
    """
    if not isinstance(inputs, StreamedInputs):
        return batch_order(seed, epoch, len(inputs))
    count, window = len(inputs), inputs.window(batch_size)
    draw = generator(seed, "window order", epoch)
    windows = ((first, min(window, count - first)) for first in range(0, count, window))
    return torch.cat([first + torch.randperm(size, generator=draw) for first, size in windows])
