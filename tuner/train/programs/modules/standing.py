"""What must stand still while a module trains, if it is to be trained as a row: see `train.programs.modules.proof`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from torch import nn

from tuner.models.generators import GeneratorStates, seed_generators
from tuner.train.programs.attributes import attributes_of, in_words, surroundings_of
from tuner.train.programs.plain_trial import PlainTrial


class DiffersError(Exception):
    """What keeps a module from being a row, in words."""


class Standing:
    """What must stand still while a module trains as written."""

    def __init__(self, trial: PlainTrial) -> None:
        self._trial = trial
        self._module = trial.module
        self._first: dict[str, Hashable] | None = None
        self._around = surroundings_of(trial.module)

    def begin_epoch(self) -> None:
        """Behind the call of `train()`."""
        self._began = attributes_of(self._module)
        if self._first is None:
            self._first = self._began
        if name := first_change(self._first, self._began):
            changed = in_words(self._module, name)
            raise DiffersError(f"{changed} changes from epoch to epoch, and is no parameter or buffer")
        if any(type(part) is nn.Dropout and part.p != 0.0 for part in self._module.modules()):
            raise DiffersError("its code sets the rate of a dropout layer")
        self._drawn = GeneratorStates.now(self._trial.device)

    def end_steps(self) -> None:
        """Behind some steps."""
        self._check_generators(self._drawn)
        if name := first_change(self._began, attributes_of(self._module)):
            changed = in_words(self._module, name)
            raise DiffersError(f"its forward changes {changed}, which is no parameter or buffer")

    def end_evaluation(self) -> None:
        """Behind an evaluation."""
        after = GeneratorStates.now(self._trial.device)
        seed_generators(self._trial.member.seed, "evaluation", device=self._trial.device)
        self._check_generators(after)
        if name := first_change(self._around, surroundings_of(self._module)):
            raise DiffersError(f"its code changes {name}, which lies outside the module")
        for part in self._module.modules():
            if isinstance(part, nn.Dropout) and part.training:
                raise DiffersError("its dropout is on in evaluation")

    def _check_generators(self, before: GeneratorStates) -> None:
        if moved := before.moved(self._trial.device):
            raise DiffersError(f"its forward draws random numbers itself, from {moved[0]} generator")


def first_change(before: Mapping[str, Hashable], after: Mapping[str, Hashable]) -> str | None:
    return next((name for name in {**before, **after} if before.get(name) != after.get(name)), None)
