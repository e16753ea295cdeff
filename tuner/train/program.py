"""The seam between the training loop and the ways to train: K same-shape networks behind one interface.

A program knows parameters, optimiser state and steps. It knows nothing of trials, epochs' ends, early stopping,
checkpoints or events: that is the cohort's loop (`train.loop.cohort`), and there is only one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from tuner.data.dataset import Split
from tuner.models.build import Maker
from tuner.models.network import Network
from tuner.models.transfer import Transfer
from tuner.train.measure.metrics import Loss
from tuner.train.measure.portions import evaluation_rows
from tuner.train.settings import Settings
from tuner.train.way import Way

_TIMES_INPUT = 16
"""What a module's layers give for an example, of which nothing is known, is taken for so many times the example."""

RowState: TypeAlias = dict[str, Tensor]
"""One trial's whole training state by name: parameters, buffers, optimiser moments. Tensors without the K axis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What all trials of a sweep learn, and on what: the same in each step of each way to train."""

    train: Split
    """Training examples, on the device."""
    loss: Loss
    num_outputs: int
    """Classes, labels or regression targets."""
    device: torch.device
    half: bool = False
    """Multiply matrices in bfloat16; parameters, sums and updates stay in float32."""


@dataclass(frozen=True, slots=True)
class Member:
    """One trial, as a program sees it."""

    seed: int
    settings: Settings
    network: Network | None
    """The description, for a built-in network."""
    make_module: Callable[[], nn.Module]
    """Builds the trial's own `nn.Module` with its initial weights; the same each time."""
    pretrained: bool = False
    """Whether the initial weights come from a file; they are then those of the module alone."""
    transfer: Transfer | None = None
    """Which parts are trained when, and at which rate; None where all are alike."""
    begun_as_written: bool = False
    """It has a checkpoint of the plain loop, and goes on there whatever is found out about its like since."""
    folds: tuple[Member, ...] = ()
    """The members that a cross-validated trial is made of, one for each fold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochPlan:
    """Everything random or scheduled about one epoch of K trials, which may be at different ones, or about several."""

    order_KN: Tensor
    """The order in which each trial visits the training examples, in several epochs one after the other; int64 on the
    program's device."""
    learning_rate_SK: npt.NDArray[np.float64]
    """For each step of the epoch and each trial. A program whose trials have rates of their own writes those here."""
    step_SK: npt.NDArray[np.int64]
    """Each trial's global step number, from 0: keys the dropout masks and Adam's bias correction."""
    num_epochs: int = 1
    """Above 1 only for a program that trains several in one go (`StackedProgram.train_epochs`)."""

    @property
    def epoch_steps(self) -> int:
        """Steps of one epoch."""
        return len(self.step_SK) // self.num_epochs

    def rates(self, row: int) -> list[float]:
        """The learning rate of one of the trials in the last step of each epoch."""
        return [float(rate) for rate in self.learning_rate_SK[self.epoch_steps - 1 :: self.epoch_steps, row]]

    def row(self, row: int) -> EpochPlan:
        """The plan of one of the trials."""
        only = slice(row, row + 1)
        return EpochPlan(
            order_KN=self.order_KN[only],
            learning_rate_SK=self.learning_rate_SK[:, only],
            step_SK=self.step_SK[:, only],
        )

    def rows(self, rows: list[int]) -> EpochPlan:
        """The plan of some of the trials."""
        return EpochPlan(
            order_KN=self.order_KN[rows],
            learning_rate_SK=self.learning_rate_SK[:, rows],
            step_SK=self.step_SK[:, rows],
        )


def looked_at(member: Member) -> nn.Module:
    """A trial's module with its initial weights, not to be changed."""
    make = member.make_module
    return make.look() if isinstance(make, Maker) else make()


def class_shares(targets: Tensor, num_classes: int) -> Tensor:
    """Classes as a probability for each: one-hot float32 of shape (examples, classes)."""
    return torch.nn.functional.one_hot(targets, num_classes).float()


def module_rows(inputs: Tensor) -> int:
    """How many examples a module evaluates at once, by their size."""
    return evaluation_rows(_TIMES_INPUT * 4 * inputs.shape[1:].numel())


def evaluation_chunks(inputs: Tensor, *, rows: int | None = None) -> Iterator[Tensor]:
    """The examples in the portions in which they are evaluated; those on disk are read one portion at a time.

    Args:
        inputs: (examples, ...).
        rows: Of a portion; None for a module's.
    """
    rows = rows or module_rows(inputs)
    return (inputs[first : first + rows] for first in range(0, len(inputs), rows))


def copied_chunks(inputs: Tensor) -> Iterator[Tensor]:
    """The same as copies, for modules that may change their inputs where they lie."""
    return (chunk.clone() for chunk in evaluation_chunks(inputs))


def num_steps(num_train: int, batch_size: int) -> int:
    """Steps of an epoch; the last batch may be smaller.

    A single example that is left over is left out: batch norm has no variance of it. The order is new in each epoch,
    so that it is another one each time.
    """
    whole, left_over = divmod(num_train, batch_size)
    return max(1, whole + (left_over > 1))


class Program(Protocol):
    """K trials that advance together; K is fixed, rows come and go by making a program of another width."""

    whole_epochs: bool
    """Its epochs are trained in one piece only."""

    def path(self, row: int) -> Way:
        """How one of the trials is trained: `stacked`, `vmap`, `plain` or `lightning`."""
        ...

    def reason(self, row: int) -> str | None:
        """Why one of the trials is not fused, where fusing was asked for."""
        ...

    def state_format(self, row: int) -> str:
        """Of one trial's state: programs load states of their own format."""
        ...

    def train_steps(self, plan: EpochPlan, first: int, last: int) -> None:
        """Do the epoch's steps from `first` up to, not including, `last`."""
        ...

    def outputs(self, inputs: Tensor) -> Tensor:
        """Each trial's outputs in evaluation mode (dropout off, running statistics).

        Args:
            inputs: (examples, *input_shape), on the program's device.

        Returns:
            Logits or predictions, shape (K, examples, outputs). Valid until the next call.
        """
        ...

    def state(self, row: int, *, lent: bool = False) -> RowState:
        """One trial's state: a copy, unless it is lent, which holds until the next step and is not to be changed."""
        ...

    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        """Give one trial a state that `state` returned."""
        ...

    def unsaved(self, row: int) -> str | None:
        """What of a trial's state cannot be written down, so that it can neither be paused nor go on after a crash."""
        ...

    def save_best(self, rows: Sequence[int]) -> None:
        """Remember the present parameters and buffers of these trials as their best."""
        ...

    def best_weights(self, row: int) -> RowState:
        """The remembered parameters as a state dict of the trial's `nn.Module`."""
        ...

    def resized(self, keep: Sequence[int], joining: Sequence[Member]) -> Program:
        """A program of the rows to keep, in this order, and behind them new ones."""
        ...

    def gradient_norms(self) -> dict[str, Tensor]:
        """The L2 norm of each weight's last gradient by parameter name, shape (K,); NaN where a trial has none.

        As the optimiser saw it: with penalties, clipped.
        """
        ...

    def dead_units(self, inputs: Tensor) -> dict[str, Tensor]:
        """The share of each hidden layer's ReLU units that are zero for all these examples, shape (K,).

        Empty for users' modules, and for networks of other activations. A convolution's unit is a channel.
        """
        ...
