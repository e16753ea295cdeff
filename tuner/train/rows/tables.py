"""What the steps of an epoch read: tables with a row for each step, brought to the device at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tuner.models.keyed import dropout_keys
from tuner.train.batch.batches import BatchChanges
from tuner.train.device.gpus import sent
from tuner.train.program import EpochPlan, Member
from tuner.train.rows.averaging import WeightAverage
from tuner.train.rows.row_optimizer import RowOptimizer
from tuner.train.rows.weight_noise import KEY, noise_keys


@dataclass(frozen=True, kw_only=True, slots=True)
class StepTables:
    """The tables of one epoch of K trials, or of several (E)."""

    batch_size: int
    order_ESN: Tensor
    """Of each step with a whole batch, the indices of all trials' examples; N is K times the batch size."""
    left_over_EN: Tensor
    """Those of each epoch's last, smaller batch; empty if there is none."""
    scalar_names: tuple[str, ...]
    scalars_SRK: Tensor
    """The optimiser's scalars, float32."""
    keys_SLK: Tensor | None
    """The keys of the dropout layers, int32; None if nothing is dropped."""
    more: Mapping[str, Tensor]
    """What else a step reads, by name: (steps, K)."""

    def first_row(self, batch_size: int) -> int:
        """The number in the epoch of the step in row 0 of the part with this batch size."""
        return 0 if batch_size == self.batch_size else self.order_ESN.shape[1]

    def of_all_epochs(self) -> list[tuple[int, list[Tensor], int]]:
        """The same of whole epochs: batch size, tables (epochs, steps, ...), and how many of the steps there are."""
        num_epochs, num_whole = self.order_ESN.shape[:2]
        others = [table for table in (self.scalars_SRK, self.keys_SLK, *self.more.values()) if table is not None]
        own = [table.view(num_epochs, -1, *table.shape[1:]) for table in others]
        found = [(self.batch_size, [self.order_ESN, *own], num_whole)] if num_whole else []
        if own[0].shape[1] > num_whole:
            size = self.left_over_EN.shape[1] // self.scalars_SRK.shape[2]
            found.append((size, [self.left_over_EN[:, None], *(table[:, num_whole:] for table in own)], 1))
        return found

    def parts(self, first: int, last: int) -> Iterator[tuple[int, list[Tensor], int, int]]:
        """The steps from `first` up to, not including, `last`, in parts of one batch size.

        Yields:
            Batch size, tables (indices, scalars, keys if there are any, what else), and first and last row in them.
        """
        others = [table for table in (self.scalars_SRK, self.keys_SLK, *self.more.values()) if table is not None]
        num_epochs, num_whole = self.order_ESN.shape[:2]
        steps = len(self.scalars_SRK) // num_epochs
        for epoch in range(first // steps, min(-(-last // steps), num_epochs)):
            began = epoch * steps
            own = [table[began : began + steps] for table in others] if num_epochs > 1 else others
            begin, end = max(first - began, 0), min(last - began, steps)
            if begin < (whole := min(end, num_whole)):
                yield self.batch_size, [self.order_ESN[epoch], *own], begin, whole
            if end > num_whole:
                size = self.left_over_EN.shape[1] // self.scalars_SRK.shape[2]
                yield size, [self.left_over_EN[epoch, None], *(table[num_whole:] for table in own)], 0, 1


AVERAGE_SHARE = "average"


def read_by_steps(
    plan: EpochPlan, changes: BatchChanges, average: WeightAverage, *, noisy: Sequence[Member]
) -> dict[str, Tensor]:
    """What the steps of an epoch read besides indices, scalars and keys, by name: (steps, K), on the host.

    Args:
        plan: Of the epoch.
        changes: Of the batches.
        average: Of the weights.
        noisy: The trials, if their weights have noise.
    """
    found = changes.begin(plan) if changes.active else {}
    if average.active:
        found[AVERAGE_SHARE] = average.shares(plan)
    if noisy:
        found[KEY] = noise_keys(noisy, plan)
    return found


def step_tables(
    plan: EpochPlan,
    optimizer: RowOptimizer,
    *,
    batch_size: int,
    seeds: list[int],
    num_dropouts: int,
    more: Mapping[str, Tensor],
) -> StepTables:
    """The tables of an epoch, or of several.

    Args:
        plan: What is random or scheduled in it.
        optimizer: Whose scalars are needed.
        batch_size: Of the trials.
        seeds: The trials' seeds.
        num_dropouts: Dropout layers that need a key.
        more: What else a step reads, by name: (steps, K), on the host.
    """
    num_trials, num_epochs = len(plan.order_KN), plan.num_epochs
    order_KEN = plan.order_KN.view(num_trials, num_epochs, -1)
    num_whole = order_KEN.shape[2] // batch_size
    end = num_whole * batch_size
    by_step = order_KEN[:, :, :end].view(num_trials, num_epochs, num_whole, batch_size).permute(1, 2, 0, 3)
    scalars = optimizer.scalars(plan.learning_rate_SK, plan.step_SK)
    stacked = np.stack(list(scalars.values()), axis=1).astype(np.float32)
    keys = dropout_keys(seeds, plan.step_SK, num_dropouts)
    device = plan.order_KN.device
    return StepTables(
        batch_size=batch_size,
        order_ESN=by_step.reshape(num_epochs, num_whole, num_trials * batch_size),
        left_over_EN=order_KEN[:, :, end:].transpose(0, 1).flatten(1),
        scalar_names=tuple(scalars),
        scalars_SRK=sent(torch.from_numpy(stacked), device),
        keys_SLK=sent(torch.from_numpy(keys), device) if num_dropouts else None,
        more={name: sent(table, device) for name, table in more.items()},
    )
