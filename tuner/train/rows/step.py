"""The steps of one batch size, from the rows of an epoch's tables: fetch the batches, change them, compute."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from tuner.models.layers.tape import Operation
from tuner.train.replay.cuda_graph import GraphedOperations
from tuner.train.replay.native.steps import NativeStep
from tuner.train.replay.replay import ReplayedStep
from tuner.train.rows.averaging import WeightAverage
from tuner.train.rows.max_norm import RowMaxNorm
from tuner.train.rows.rates import RowRates
from tuner.train.rows.row_optimizer import RowOptimizer


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """When the steps of a program are recorded, to be replayed without Python; None for never."""

    script_after: int | None = None
    """On a CPU, see `replay.ReplayedStep`; likewise the next."""
    kernels_after: int | None = None
    graph_after: int | None = None
    """On CUDA: Python runs a step so many times before it is captured."""
    may_refuse: bool = False
    """What is captured is not all ours."""
    pool: Any = None
    """On CUDA: handle of the memory of the graphs of one program, of which never two run at a time."""


def new_pool(device: torch.device) -> Any:
    """The handle of memory for the graphs of one program, on CUDA."""
    return torch.cuda.graph_pool_handle() if device.type == "cuda" else None


class BatchStep:
    """What differs from step to step is read into tensors that stay where they are; all else is computed on these."""

    def __init__(
        self,
        compute: Sequence[Operation],
        *,
        indices: Tensor,
        fetch: Sequence[tuple[Tensor, Tensor]],
        reads: Sequence[Tensor],
        first_number: int,
        changes: Sequence[Operation],
        average: WeightAverage | None,
        share_K: Tensor,
        state: Sequence[Tensor],
        num_trials: int,
        recording: Recording,
    ) -> None:
        """Prepare the steps.

        Args:
            compute: The operations of the step, once everything is in its place.
            indices: Where those of the examples are read, first of all.
            fetch: All examples' values, shape (examples, ...), and where those of a step's examples go.
            reads: What else is read, in the order of the tables.
            first_number: Of the step that the first row of the tables is for.
            changes: Are made to the batches and to the state before `compute`.
            average: Of the weights, which takes in what `compute` made of them.
            share_K: Where each trial's share of the present weights in it is read.
            state: What `compute` changes and does not set first.
            num_trials: Along the first dimension of what differs from trial to trial.
            recording: When the step is recorded.
        """
        # No method of its own is among what it holds: a cycle would keep all this memory until it is looked for.
        self._fetch = partial(_fetch, tuple(fetch), indices)
        self._reads = (indices, *reads)
        self._first_number, self._changes, self._average, self._share_K = first_number, changes, average, share_K
        self._graph: GraphedOperations | None = None
        if indices.device.type == "cuda" and recording.graph_after is not None:
            whole: list[Operation] = [self._fetch, *changes, *compute]
            if average is not None and average.takes_each_step:
                whole.append(partial(average.update, share_K))
                state, self._average = [*state, *average.tensors.values()], None
            self._graph = GraphedOperations(
                partial(_one_after_the_other, whole), state=state, after_runs=recording.graph_after,
                may_refuse=recording.may_refuse, pool=recording.pool,
            )  # fmt: skip
        self._whole, on_cpu = not changes and average is None, indices.device.type == "cpu"
        step = partial(_one_after_the_other, [*([self._fetch] if self._whole else []), *compute])
        self._replayed = ReplayedStep(
            step, reads=self._reads if self._whole else (), state=state, num_trials=num_trials,
            script_after=recording.script_after if on_cpu else None,
            kernels_after=recording.kernels_after if on_cpu else None,
        )  # fmt: skip

    @property
    def kernels(self) -> NativeStep | None:
        """What runs all of it by the compiled kernels; None unless that is how it is run from now on."""
        return self._replayed.kernels if self._whole else None

    def run(self, tables: Sequence[Tensor], first: int, last: int) -> None:
        """Run the steps from `first` up to, not including, `last`.

        Args:
            tables: A row for each step: the indices of all trials' examples, then what the further reads take.
            first: Row of the first step.
            last: Row after the last one.
        """
        if self._whole and self._graph is None:
            self._replayed.run(tables, first, last)
            return
        for row in range(first, last):
            for target, table in zip(self._reads, tables, strict=True):
                target.copy_(table[row])
            if self._graph is not None:
                self._graph()
            else:
                self._fetch()
                _one_after_the_other(self._changes)
                self._replayed.run((), 0, 1)
            if self._average is not None and self._average.is_due(self._first_number + row):
                self._average.update(self._share_K)


def _fetch(fetches: Sequence[tuple[Tensor, Tensor]], indices: Tensor) -> None:
    for source, target in fetches:
        torch.index_select(source, 0, indices, out=target)


def _one_after_the_other(operations: Sequence[Operation]) -> None:
    for operation in operations:
        operation()


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
