"""The training examples that steps gather their batches from: all of them, or the window of those on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from tuner.data.dataset import Split
from tuner.data.stored import StreamedInputs


class AtHand:
    """Inputs and targets that stay where they are in memory, so that recorded steps may refer to them."""

    def __init__(self, train: Split, table: Callable[[Tensor], Tensor], *, batch_size: int) -> None:
        """Begin with the first window.

        Args:
            train: All training examples.
            table: Makes of targets what steps compute with, a row for each example.
            batch_size: Of whole batches.
        """
        self._streamed = train.inputs if isinstance(train.inputs, StreamedInputs) else None
        self._table = table
        self._all_targets = train.targets
        self._batch_size = batch_size
        self._first = -1
        """The window that `targets` are of."""
        if self._streamed is None:
            self.inputs, self.targets = train.inputs, table(train.targets)
        else:
            self.inputs = self._streamed.at_hand(batch_size)
            self.targets = torch.zeros_like(table(train.targets[:1])).repeat_interleave(len(self.inputs), dim=0)

    def places(self, order: Tensor) -> Tensor:
        """The places of examples among those that will be at hand when they are trained on."""
        return order if self._streamed is None else order % self._streamed.window(self._batch_size)

    def windows(self, first: int, last: int) -> Iterator[tuple[int, int, int]]:
        """An epoch's steps in parts, the examples of each of which are at hand when it is yielded.

        Yields:
            The first step, the one after the last, and the first of the examples at hand.
        """
        while first < last:
            low, end = self._hold(first * self._batch_size)
            is_last = end == len(self._all_targets)
            next_one = last if is_last else min(last, end // self._batch_size)
            yield first, next_one, low
            first = next_one

    def _hold(self, position: int) -> tuple[int, int]:
        if self._streamed is None:
            return 0, len(self._all_targets)
        first, end = self._streamed.hold(position, self._batch_size)
        if first != self._first:
            self.targets[: end - first] = self._table(self._all_targets[first:end])
            self._first = first
        return first, end
