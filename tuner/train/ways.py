"""Which program trains the trials of a task, and why it is not a faster one."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch

from tuner.data.dataset import TrainingData
from tuner.data.stored import is_streamed
from tuner.errors import TunerError, UserCodeError
from tuner.models.lightning import is_lightning
from tuner.spec.known.networks import MODELS
from tuner.spec.model import SweepSpec
from tuner.spec.values import is_own
from tuner.train.measure.metrics import Loss
from tuner.train.program import Member, Program, looked_at
from tuner.train.programs.lightning.program import LightningProgram
from tuner.train.programs.modules.grouped import GroupedProgram
from tuner.train.programs.modules.structures import Structures
from tuner.train.programs.plain import PlainProgram
from tuner.train.programs.stacked.program import StackedProgram
from tuner.train.programs.user_parts import UserParts, UserProgram

log = logging.getLogger(__name__)


class Ways:
    """The ways to train a task's trials; each reason for a slow one is logged once."""

    def __init__(
        self, spec: SweepSpec, data: TrainingData, parts: UserParts, *, loss: Loss, device: torch.device, half: bool
    ) -> None:
        self._spec = spec
        self._data = data
        self._parts = parts
        self._loss = loss
        self._device = device
        self._half = half
        self._is_lightning: bool | None = None
        self._said: set[str] = set()
        self.structures = Structures(
            spec, data, loss=loss, device=device, half=half, say=lambda reason: self._alone(spec.model.kind, reason)
        )

    def program(self, members: Sequence[Member]) -> Program:
        """The way to train these members, which share a fusion key.

        Raises:
            TunerError: `fuse: require`, and they cannot be fused.
            UserCodeError: the sweep asks for what a LightningModule does itself.
        """
        data, loss, half = self._data, self._loss, self._half
        train, num_outputs, device, kind = data.train, data.info.num_outputs, self._device, self._spec.model.kind
        if self.is_lightning(members[0]):
            self._alone(kind, "it is a LightningModule, which Lightning's Trainer trains with its own training_step")
            return LightningProgram(members, train, data.dev, num_outputs=num_outputs, device=device, half=half)
        fuse, streamed = self._spec.training.fuse, None
        if is_streamed(train.inputs):
            refusal = "data.stream reads inputs for one trial at a time; remove one of them"
            streamed = "its data are streamed"
            self._alone(kind, streamed, refusal=refusal)
            fuse = "off"
        if reason := self._parts.trains:
            self._alone("the network", reason, refusal=f"trials cannot be fused: {reason}")
            return UserProgram(
                members, train, loss=loss, num_outputs=num_outputs, device=device, half=half, reason=reason,
                parts=self._parts,
            )  # fmt: skip
        if fuse == "off":
            return PlainProgram(
                members, train, loss=loss, num_outputs=num_outputs, device=device, half=half, reason=streamed
            )
        if members[0].network is not None:
            return StackedProgram(members, train, loss=loss, num_outputs=num_outputs, device=device, half=half)
        return GroupedProgram(members, self.structures)

    def told(self, member: Member) -> str:
        """How a trial is trained, in words."""
        if self.is_lightning(member):
            return "by Lightning's Trainer, one trial after the other"
        program = self.program([*member.folds] or [member])
        names = {"stacked": "as a row of a stack", "vmap": "as a row of a stack, which is proven to compute the same"}
        reason = program.reason(0)
        return names.get(program.path(0), "one trial at a time") + (f": {reason}" if reason else "")

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

    def _alone(self, what: str, reason: str, *, refusal: str = "") -> None:
        """Say why trials are not fused; refuse where they must be."""
        if self._spec.training.fuse == "require":
            raise TunerError(f"fuse: require, but {refusal or f'{what} cannot be fused: {reason}'}")
        if reason not in self._said:
            log.warning("%s is trained one trial at a time: %s", what, reason)
            self._said.add(reason)


def refuse_with_lightning(spec: SweepSpec, member: Member, *, folds: int) -> None:
    """Refuse what takes part in a step of tuner's own, since with a LightningModule there is none.

    Raises:
        UserCodeError: the sweep asks for something of the kind.
    """
    asked = {
        "training.loss": is_own(spec.training.loss),
        "training.auxiliary_loss": spec.training.auxiliary_loss is not None,
        "training.optimizer": is_own(spec.training.optimizer),
        "data.folds": folds > 0,
        "training in parts (freeze, train_last, unfreeze_every_epochs, body_learning_rate_factor)": member.transfer
        is not None,
    }
    if named := [name for name, is_asked in asked.items() if is_asked]:
        raise UserCodeError(
            f"{named[0]} has no effect on {spec.model.kind}: a LightningModule has its own training_step and "
            "configure_optimizers; remove it, or return a plain nn.Module"
        )
