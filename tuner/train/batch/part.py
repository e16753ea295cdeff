"""Training on a part of the training examples: which these are, and the order in which an epoch visits them.

An epoch takes as many steps as with all examples, and so do schedules, early stopping and the whole training: what
there is of examples is gone through several times. So networks that see fewer examples are trained for as long, and
differ in nothing else.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tuner.data.stored import StreamedInputs
from tuner.models.keyed import generator
from tuner.records import Part


def examples_of(part: Part, targets: Tensor) -> Tensor:
    """Positions of the examples of a part in an order of their own, int64, shape (examples,).

    The parts of a draw are the beginnings of one order, so that each holds the smaller ones; in each of them every
    class has its share, and at least one example where there are no more classes than examples.

    Args:
        part: Its share and draw.
        targets: Of all training examples.
    """
    num = len(targets)
    shuffled = torch.randperm(num, generator=generator(part.draw, "parts of the training examples"))
    if targets.ndim == 1 and not targets.is_floating_point():
        classes = targets.cpu()[shuffled]
        by_class = classes.argsort(stable=True)
        counts = torch.bincount(classes)
        first = (counts.cumsum(0) - counts)[classes[by_class]]
        place = torch.empty(num, dtype=torch.float64)
        place[by_class] = (torch.arange(num) - first).double() / counts[classes[by_class]]
        shuffled = shuffled[place.argsort(stable=True)]
    return shuffled[: max(1, round(part.share * num))]


def order_of_part(
    chosen: Tensor, inputs: Tensor | StreamedInputs | int, *, seed: int, epoch: int, batch_size: int = 1
) -> Tensor:
    """The order of an epoch that visits some examples again and again: int64, as many as there are inputs.

    Where inputs stay on disk each window shows those of its own.

    Args:
        chosen: Positions of the examples.
        inputs: All, or their number.
        seed: Of the trial.
        epoch: Finished epochs.
        batch_size: Of its steps.
    """
    draw = generator(seed, "order of a part", epoch)
    if not isinstance(inputs, StreamedInputs):
        return _again_and_again(chosen, inputs if isinstance(inputs, int) else len(inputs), draw)
    count, window = len(inputs), inputs.window(batch_size)
    orders = []
    for first in range(0, count, window):
        end = min(first + window, count)
        own = chosen[(chosen >= first) & (chosen < end)]
        orders.append(_again_and_again(own if len(own) else torch.tensor([first]), end - first, draw))
    return torch.cat(orders)


def _again_and_again(chosen: Tensor, count: int, draw: torch.Generator) -> Tensor:
    """So many positions: all that are chosen in random order, then again in another."""
    rounds = -(-count // len(chosen))
    return torch.cat([chosen[torch.randperm(len(chosen), generator=draw)] for _ in range(rounds)])[:count]
