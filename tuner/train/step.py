"""The steps of one batch size, from the rows of an epoch's tables: fetch the batches, change them, compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tuner.train.replay import ReplayedStep

Around = Callable[[int], object]
"""What is done before or after a step in Python, given its row in the tables."""


class BatchStep:
    """What differs from step to step is read into tensors that stay where they are; all else is computed on these."""

    def __init__(
        self,
        compute: Callable[[], object],
        *,
        fetch: Sequence[tuple[Tensor, Tensor]],
        reads: Sequence[Tensor],
        change: Around | None,
        after: Around | None,
        state: Sequence[Tensor],
        num_trials: int,
        script_after: int | None,
        kernels_after: int | None = None,
    ) -> None:
        """Prepare the steps.

        Args:
            compute: The step, once everything is in its place.
            fetch: All examples' values, shape (examples, ...), and where those of a step's examples go.
            reads: What else is read, in the order of the tables; the indices of the examples come before.
            change: Is done to the batches before `compute`.
            after: Is done after it.
            state: What `compute` changes and does not set first.
            num_trials: Along the first dimension of what differs from trial to trial.
            script_after: See `replay.ReplayedStep`.
            kernels_after: Likewise.
        """
        size = len(fetch[0][1])
        self._indices = torch.zeros(size, dtype=torch.int64, device=fetch[0][0].device)
        self._fetches = tuple(fetch)
        self._reads = (self._indices, *reads)
        self._compute = compute
        self._change, self._after = change, after
        self._whole = change is None and after is None
        step, read = (self._fetch_and_compute, self._reads) if self._whole else (compute, ())
        self._replayed = ReplayedStep(
            step, reads=read, state=state, num_trials=num_trials,
            script_after=script_after, kernels_after=kernels_after,
        )  # fmt: skip

    def run(self, tables: Sequence[Tensor], first: int, last: int) -> None:
        """Run the steps from `first` up to, not including, `last`.

        Args:
            tables: A row for each step: the indices of all trials' examples, then what the further reads take.
            first: Row of the first step.
            last: Row after the last one.
        """
        if self._whole:
            self._replayed.run(tables, first, last)
            return
        for row in range(first, last):
            for target, table in zip(self._reads, tables, strict=True):
                target.copy_(table[row])
            self._fetch()
            if self._change is not None:
                self._change(row)
            self._replayed.run((), 0, 1)
            if self._after is not None:
                self._after(row)

    def _fetch_and_compute(self) -> None:
        self._fetch()
        self._compute()

    def _fetch(self) -> None:
        for source, target in self._fetches:
            torch.index_select(source, 0, self._indices, out=target)
