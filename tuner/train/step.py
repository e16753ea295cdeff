"""The steps of one batch size, from the rows of an epoch's tables: fetch the batches, change them, compute."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from tuner.train.max_norm import RowMaxNorm
from tuner.train.optimizers import RowOptimizer
from tuner.train.program import EpochPlan
from tuner.train.rates import RowRates
from tuner.train.replay import ReplayedStep

Around = Callable[[EpochPlan, int], object]
"""What is done before or after a step in Python, given the plan of its epoch and its number there."""


class BatchStep:
    """What differs from step to step is read into tensors that stay where they are; all else is computed on these."""

    def __init__(
        self,
        compute: Callable[[], object],
        *,
        fetch: Sequence[tuple[Tensor, Tensor]],
        reads: Sequence[Tensor],
        first_number: int,
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
            first_number: Of the step that the first row of the tables is for.
            change: Is done to the batches before `compute`.
            after: Is done after it.
            state: What `compute` changes and does not set first.
            num_trials: Along the first dimension of what differs from trial to trial.
            script_after: See `replay.ReplayedStep`.
            kernels_after: Likewise.
        """
        size = len(fetch[0][1])
        self._indices = torch.zeros(size, dtype=torch.int64, device=fetch[0][0].device)
        # No method of its own is among what it holds: a cycle would keep all this memory until it is looked for.
        self._fetch = partial(_fetch, tuple(fetch), self._indices)
        self._reads = (self._indices, *reads)
        self._first_number, self._change, self._after = first_number, change, after
        self._whole = change is None and after is None
        step, read = (
            (partial(_one_after_the_other, self._fetch, compute), self._reads) if self._whole else (compute, ())
        )
        self._replayed = ReplayedStep(
            step, reads=read, state=state, num_trials=num_trials,
            script_after=script_after, kernels_after=kernels_after,
        )  # fmt: skip

    def run(self, plan: EpochPlan, tables: Sequence[Tensor], first: int, last: int) -> None:
        """Run the steps from `first` up to, not including, `last`.

        Args:
            plan: Of the epoch.
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
                self._change(plan, self._first_number + row)
            self._replayed.run((), 0, 1)
            if self._after is not None:
                self._after(plan, self._first_number + row)


def _fetch(fetches: Sequence[tuple[Tensor, Tensor]], indices: Tensor) -> None:
    for source, target in fetches:
        torch.index_select(source, 0, indices, out=target)


def _one_after_the_other(first: Callable[[], object], second: Callable[[], object]) -> None:
    first()
    second()


@torch.no_grad()
def update_rows(
    p_KP: Tensor,
    g_KP: Tensor,
    moments: dict[str, Tensor],
    scalars: dict[str, Tensor],
    *,
    rates: RowRates,
    optimizer: RowOptimizer,
    max_norm: RowMaxNorm,
) -> None:
    """The update of a step: the optimiser's, at each layer's share of the learning rate, then norm constraints."""
    with rates.around(p_KP, g_KP):
        optimizer.step(p_KP, g_KP, moments, scalars)
        max_norm.apply(p_KP)
