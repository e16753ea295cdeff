"""Which program trains the trials of a task, and why it is not a faster one."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tuner.data.dataset import TrainingData
from tuner.errors import TunerError, UserCodeError
from tuner.models.lightning import is_lightning
from tuner.spec.known.networks import MODELS
from tuner.spec.known.strategies import known_strategy
from tuner.spec.model import SweepSpec
from tuner.spec.values import is_own
from tuner.train.program import Member, Problem, Program, looked_at
from tuner.train.programs.lightning.program import LightningProgram
from tuner.train.programs.modules.grouped import GroupedProgram
from tuner.train.programs.modules.structures import Structures
from tuner.train.programs.plain import PlainProgram
from tuner.train.programs.plain_trial import PlainTrial
from tuner.train.programs.stacked.program import StackedProgram
from tuner.train.programs.user_parts import UserParts, UserTrial
from tuner.train.way import Case, Choice, Way, choose

log = logging.getLogger(__name__)


class Ways:
    """The ways to train a task's trials; each reason for a slow one is logged once."""

    def __init__(self, spec: SweepSpec, data: TrainingData, parts: UserParts, problem: Problem) -> None:
        self._spec = spec
        self._data = data
        self._parts = parts
        self._problem = problem
        self._is_lightning: bool | None = None
        self._said: set[str] = set()
        self.structures = Structures(spec, data.info, problem, say=self._alone, open_trial=self._open_trial)

    def program(self, members: Sequence[Member]) -> Program:
        """The way to train these members, which share a fusion key.

        Raises:
            TunerError: `fuse: require`, and they cannot be fused.
            UserCodeError: the sweep asks for what a LightningModule does itself.
        """
        choice = self._choice(members[0])
        if choice.reason is not None:
            self._alone(choice)
        match choice.way:
            case Way.LIGHTNING:
                return LightningProgram(members, self._problem, dev=self._data.dev)
            case Way.STACKED:
                return StackedProgram(members, self._problem)
            case Way.TOGETHER:
                return GroupedProgram(members, self.structures)
            case _:
                return PlainProgram(members, self._open_trial, reason=choice.reason)

    def _choice(self, member: Member) -> Choice:
        """What holds for all trials of its fusion key; of a user's module the rest is each trial's own."""
        return choose(
            Case(
                is_lightning=self.is_lightning(member),
                users_part=self._parts.trains,
                fuse=self._spec.training.fuse,
                is_built_in=member.network is not None,
            )
        )

    def _open_trial(self, member: Member) -> PlainTrial:
        if self._parts.trains:
            return UserTrial(member, self._problem, parts=self._parts)
        return PlainTrial(member, self._problem)

    def told(self, member: Member) -> str:
        """How a trial is trained, in words."""
        if self.is_lightning(member):
            return Way.LIGHTNING.words
        program = self.program([*member.folds] or [member])
        reason = program.reason(0)
        return program.path(0).words + (f": {reason}" if reason else "")

    def is_lightning(self, member: Member) -> bool:
        """Whether the task's modules are LightningModules; found out once.

        Raises:
            UserCodeError: they are, and the sweep asks for what it cannot do with them.
        """
        if self._is_lightning is None:
            self._is_lightning = self._spec.model.kind not in MODELS and is_lightning(type(looked_at(member)))
            if self._is_lightning:
                refuse_with_lightning(self._spec, member, folds=self._data.info.folds)
        return self._is_lightning

    def _alone(self, choice: Choice) -> None:
        """Say why trials are not fused; refuse where they must be."""
        kind, reason = self._spec.model.kind, str(choice.reason)
        if self._spec.training.fuse == "require":
            raise TunerError(f"fuse: require, but {choice.refusal or f'{kind} cannot be fused: {reason}'}")
        if reason not in self._said:
            log.warning("%s is trained one trial at a time: %s", kind, reason)
            self._said.add(reason)


def refuse_with_lightning(spec: SweepSpec, member: Member, *, folds: int) -> None:
    """Refuse what takes part in a step of tuner's own, since with a LightningModule there is none.

    Raises:
        UserCodeError: the sweep asks for something of the kind.
    """
    asked = {
        f"search.strategy: {spec.search.strategy}": known_strategy(spec.search.strategy).changes_values,
        "training.changes": bool(spec.training.changes),
        "training.loss": is_own(spec.training.loss),
        "training.auxiliary_loss": spec.training.auxiliary_loss is not None,
        "training.optimizer": is_own(spec.training.optimizer),
        "data.folds": folds > 0,
        "training in parts (freeze, train_last, unfreeze_every_epochs, body_learning_rate_factor)": member.transfer
        is not None,
        "training.weight_noise": member.settings.weight_noise > 0,
        "a penalty by layer": bool(member.settings.by_layer),
    }
    if named := [name for name, is_asked in asked.items() if is_asked]:
        raise UserCodeError(
            f"{named[0]} has no effect on {spec.model.kind}: a LightningModule has its own training_step and "
            "configure_optimizers; remove it, or return a plain nn.Module"
        )
