"""Several epochs in one go, between which nothing is decided of any member.

What an epoch takes beside its steps and evaluation (orders, tables, scores) is worked out for all of them at once: in a
small network that takes as long as the steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tuner.train.loop import slices
from tuner.train.loop.member import Run
from tuner.train.program import EpochPlan, Program
from tuner.train.programs.stacked.program import StackedProgram
from tuner.train.task import Measured, Task

SHARE = 0.1
"""How long a stretch should take, of a slice of a long epoch: members join, are interrupted and told of at its end."""


class Stretch:
    """Some epochs of all members."""

    def __init__(self, task: Task, runs: Sequence[Run], program: StackedProgram, *, num_epochs: int) -> None:
        self._task = task
        self._program = program
        self.plan: EpochPlan = slices.epoch_plan(task, runs, num_epochs=num_epochs)

    def train(self) -> list[Measured]:
        """Train them; what each of them came to, in order."""
        return self._task.measure_epochs(self._program.train_epochs(self.plan, self._task.evaluated))

    def save_best(self, epochs: Mapping[int, int]) -> None:
        """Remember of these rows what they came to in one of the epochs as their best."""
        self._program.save_best_of(epochs)


def stretch_of(task: Task, runs: Sequence[Run], program: Program, *, epoch_seconds: float | None) -> Stretch | None:
    """A stretch of the epochs that members are at the beginning of; None where one epoch at a time is better.

    Args:
        task: Of the cohort.
        runs: The members.
        program: Trains them.
        epoch_seconds: About how long an epoch of all members takes; None if that is not known yet.
    """
    if not isinstance(program, StackedProgram) or epoch_seconds is None or any(run.step for run in runs):
        return None
    most = min(program.most_epochs(task.num_evaluated), int(SHARE * slices.SLICE_SECONDS / max(epoch_seconds, 1e-9)))
    if most < 2 or task.streams:
        return None
    num_epochs = min(most, *(run.certain_epochs for run in runs))
    return Stretch(task, runs, program, num_epochs=num_epochs) if num_epochs > 1 else None
