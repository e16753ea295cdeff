"""Cross-validation: each trial is k networks that advance together, each on the training examples of its own fold.

To the training loop they are one trial: one curve, one checkpoint, one end. To the program below they are k members
like any others, so that the folds of a trial, and of all trials of a cohort, are rows of one stack.

A trial's score is the mean over folds. Its dev predictions are those of each example by the network that was not
trained on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tuner.data.dataset import Fold
from tuner.models.ensemble import fold_seed, joined_weights, parted_weights
from tuner.models.keyed import batch_order
from tuner.spec.known.metrics import num_train_measured
from tuner.train.batch.part import order_of_part
from tuner.train.measure.metrics import Scores
from tuner.train.program import EpochPlan, Member, Program, RowState
from tuner.train.way import Way


def fold_orders(seed: int, epoch: int, train_folds: Sequence[Tensor], num_train: int) -> list[Tensor]:
    """The order in which each fold's network visits its training examples in an epoch, as positions in the pool.

    Every fold takes `num_train` examples, as many as the smallest has: what a fold has more is left out at random, anew
    in each epoch, and one that has fewer shows them again.
    """
    seeds = [fold_seed(seed, fold) for fold in range(len(train_folds))]
    return [_order(own, num_train, seed=key, epoch=epoch) for key, own in zip(seeds, train_folds, strict=True)]


def _order(own: Tensor, num_train: int, *, seed: int, epoch: int) -> Tensor:
    if len(own) < num_train:
        return order_of_part(own, num_train, seed=seed, epoch=epoch)
    return own[batch_order(seed, epoch, len(own))[:num_train]]


class FoldedProgram:
    """See `train.program.Program`. A row is a trial, which is `folds` rows of the program inside.

    Plans hold a row for each network, and so do `outputs`; all else is by trial.
    """

    def __init__(self, program: Program, *, folds: int) -> None:
        self.program = program
        self.folds = folds
        self.whole_epochs = program.whole_epochs

    def _rows(self, trials: Sequence[int]) -> list[int]:
        return [trial * self.folds + fold for trial in trials for fold in range(self.folds)]

    def path(self, row: int) -> Way:
        return self.program.path(row * self.folds)

    def reason(self, row: int) -> str | None:
        return self.program.reason(row * self.folds)

    def state_format(self, row: int) -> str:
        return f"{self.program.state_format(row * self.folds)}, {self.folds} folds"

    def train_steps(self, plan: EpochPlan, first: int, last: int) -> None:
        self.program.train_steps(plan, first, last)

    def outputs(self, inputs: Tensor) -> Tensor:
        return self.program.outputs(inputs)

    def state(self, row: int, *, lent: bool = False) -> RowState:
        return joined_weights([self.program.state(r) for r in self._rows([row])])

    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        for r, own in zip(self._rows([row]), parted_weights(state, folds=self.folds), strict=True):
            self.program.load_state(r, own)

    def unsaved(self, row: int) -> str | None:
        return next(filter(None, (self.program.unsaved(r) for r in self._rows([row]))), None)

    def save_best(self, rows: Sequence[int]) -> None:
        self.program.save_best(self._rows(rows))

    def best_weights(self, row: int) -> RowState:
        return joined_weights([self.program.best_weights(r) for r in self._rows([row])])

    def resized(self, keep: Sequence[int], joining: Sequence[Member]) -> FoldedProgram:
        members = [own for member in joining for own in member.folds]
        return FoldedProgram(self.program.resized(self._rows(keep), members), folds=self.folds)

    def gradient_norms(self) -> dict[str, Tensor]:
        return {name: self._mean(t) for name, t in self.program.gradient_norms().items()}

    def dead_units(self, inputs: Tensor) -> dict[str, Tensor]:
        return {name: self._mean(t) for name, t in self.program.dead_units(inputs).items()}

    def _mean(self, values: Tensor) -> Tensor:
        return values.view(-1, self.folds).mean(dim=1)


@dataclass(frozen=True, slots=True)
class _Fold:
    """What the network of one fold is scored on."""

    dev: Tensor
    """Positions of its dev examples in the pool."""
    score_dev: Callable[[Tensor], Scores]
    sample: Tensor
    """Positions of a fixed sample of its training examples."""
    score_train: Callable[[Tensor], Scores]


class FoldScores:
    """Scores the networks of folds, each on its own dev examples and on a sample of its training examples."""

    def __init__(
        self, folds: Sequence[Fold], targets: Tensor, scorer: Callable[[Tensor], Callable[[Tensor], Scores]]
    ) -> None:
        """Prepare.

        Args:
            folds: Their examples, as positions in the pool.
            targets: Of the pool.
            scorer: Makes what scores outputs, from targets.
        """
        self._folds: list[_Fold] = []
        for fold in folds:
            size = num_train_measured(len(fold.train), len(fold.dev))
            chosen = torch.randperm(len(fold.train), generator=torch.Generator().manual_seed(0))[:size].sort().values
            sample = fold.train[chosen.to(fold.train.device)]
            self._folds.append(_Fold(fold.dev, scorer(targets[fold.dev]), sample, scorer(targets[sample])))
        self._sizes = [len(fold.dev) for fold in self._folds]

    def measure(self, outputs: Tensor) -> tuple[Scores, Scores, Tensor]:
        """Score all networks.

        Args:
            outputs: Of each trial's folds on the pool, (K * folds, examples, outputs).

        Returns:
            The means over the folds of the trials' scores on dev examples, and on training examples; and each trial's
            outputs on the dev examples of one fold behind the other, (K, dev examples, outputs).
        """
        count = len(self._folds)
        own = [outputs[f::count] for f in range(count)]
        of_dev = [z[:, fold.dev] for z, fold in zip(own, self._folds, strict=True)]
        on_dev = [fold.score_dev(z) for z, fold in zip(of_dev, self._folds, strict=True)]
        on_train = [fold.score_train(z[:, fold.sample]) for z, fold in zip(own, self._folds, strict=True)]
        return _mean(on_dev), _mean(on_train), torch.cat(of_dev, dim=1)

    def of_dev_outputs(self, outputs: Tensor) -> list[Scores]:
        """For each fold the scores of one trial, from outputs (dev examples of all folds, outputs)."""
        parts = torch.split(outputs.unsqueeze(0), self._sizes, dim=1)
        return [fold.score_dev(part) for fold, part in zip(self._folds, parts, strict=True)]


def _mean(scores: Sequence[Scores]) -> Scores:
    return Scores(
        loss=np.mean([s.loss for s in scores], axis=0),
        metric=np.mean([s.metric for s in scores], axis=0),
    )
