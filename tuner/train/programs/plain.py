"""The plain loop: `nn.Module`, autograd and `torch.optim`, one trial after the other.

This is training as a user's module is written, what `fuse: off` runs, and what the fused ways are held to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from tuner.train.program import EpochPlan, Member, RowState
from tuner.train.programs.plain_trial import PlainTrial
from tuner.train.way import Way


class PlainProgram:
    """See `train.program.Program`. Each trial has a module and an optimiser of its own."""

    whole_epochs = False

    def __init__(
        self,
        members: Sequence[Member],
        open_trial: Callable[[Member], PlainTrial],
        *,
        reason: str | None = None,
        trials: Sequence[PlainTrial] = (),
    ) -> None:
        """Open the trials.

        Args:
            members: The trials.
            open_trial: The plain loop around one of them, with a loss or an optimiser of the user's where there is one.
            reason: Why they are not fused.
            trials: Those of the first members, if they exist already; the others are opened.
        """
        self.members = tuple(members)
        self._open_trial = open_trial
        self._reason = reason
        self.trials = [*trials, *map(open_trial, members[len(trials) :])]
        self._plan: EpochPlan | None = None
        self._row_plans: list[EpochPlan] = []

    def path(self, row: int) -> Way:
        return Way.PLAIN

    def reason(self, row: int) -> str | None:
        return self._reason

    def state_format(self, row: int) -> str:
        return self.trials[row].state_format

    def train_steps(self, plan: EpochPlan, first: int, last: int) -> None:
        if plan is not self._plan:
            self._plan, self._row_plans = plan, [plan.row(row) for row in range(len(self.members))]
        for trial, own in zip(self.trials, self._row_plans, strict=True):
            trial.train_steps(own, first, last)

    def outputs(self, inputs: Tensor) -> Tensor:
        return torch.stack([trial.outputs(inputs) for trial in self.trials])

    def state(self, row: int, *, lent: bool = False) -> RowState:
        return self.trials[row].state()

    def load_state(self, row: int, state: Mapping[str, Tensor]) -> None:
        self.trials[row].load_state(state)

    def unsaved(self, row: int) -> str | None:
        return self.trials[row].unsaved()

    def save_best(self, rows: Sequence[int]) -> None:
        for row in rows:
            self.trials[row].save_best()

    def best_weights(self, row: int) -> RowState:
        return self.trials[row].best_weights()

    def resized(self, keep: Sequence[int], joining: Sequence[Member]) -> PlainProgram:
        members, trials = [*(self.members[row] for row in keep), *joining], [self.trials[row] for row in keep]
        return PlainProgram(members, self._open_trial, reason=self._reason, trials=trials)

    def gradient_norms(self) -> dict[str, Tensor]:
        return by_name([trial.gradient_norms() for trial in self.trials])

    def dead_units(self, inputs: Tensor) -> dict[str, Tensor]:
        if self.members[0].network is None:
            return {}
        shares = [trial.dead_shares(inputs) for trial in self.trials]
        return {f"hidden layer {n + 1}": torch.tensor([share[n] for share in shares]) for n in range(len(shares[0]))}


def by_name(rows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """What each of several trials has by name, as vectors over them; NaN where one has nothing of that name."""
    names = dict.fromkeys(name for row in rows for name in row)
    nothing = torch.tensor(torch.nan)
    return {name: torch.stack([row.get(name, nothing).cpu() for row in rows]) for name in names}
