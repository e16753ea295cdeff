"""Which program trains the trials of a task, and why it is not a faster one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch

from tuner.data.dataset import TrainingData
from tuner.data.stored import is_streamed
from tuner.errors import TunerError, UserCodeError
from tuner.models.build import build_module
from tuner.models.keyed import key
from tuner.models.lightning import is_lightning
from tuner.models.rewritten import rewritten
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.model import SweepSpec
from tuner.spec.networks import MODELS
from tuner.spec.values import is_own
from tuner.train.fusion import PER_TRIAL, fusion_key
from tuner.train.grouped import Group, GroupedProgram
from tuner.train.lightning.program import LightningProgram
from tuner.train.metrics import Loss
from tuner.train.plain import PlainProgram
from tuner.train.program import Member, Program
from tuner.train.proof import difference_as_rows
from tuner.train.stackable import difference, signature
from tuner.train.stacked.program import StackedProgram
from tuner.train.user_parts import UserParts, UserProgram
from tuner.train.vmapped import ModuleProgram

log = logging.getLogger(__name__)


AS_WRITTEN = "as written"
"""The group of the trials that the plain loop trains."""


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
        self._verdicts: dict[Group, str | None] = {}
        """Why trials of a group cannot be fused, None where they can."""
        self._said: set[str] = set()

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
        fuse = self._spec.training.fuse
        if is_streamed(train.inputs):
            refusal = "data.stream reads inputs for one trial at a time; remove one of them"
            self._alone(kind, "its data are streamed", refusal=refusal)
            fuse = "off"
        if reason := self._parts.trains:
            self._alone("the network", reason, refusal=f"trials cannot be fused: {reason}")
            return UserProgram(
                members, train, loss=loss, num_outputs=num_outputs, device=device, half=half, parts=self._parts
            )
        if fuse == "off":
            return PlainProgram(members, train, loss=loss, num_outputs=num_outputs, device=device, half=half)
        if members[0].network is not None:
            return StackedProgram(members, train, loss=loss, num_outputs=num_outputs, device=device, half=half)
        return GroupedProgram(members, self._group_of, self._open_group)

    def _group_of(self, member: Member) -> Group:
        """The stack that a user's module is trained in, or the plain loop."""
        module = member.make_module()
        group = fusion_key(self._spec, member.settings.model), signature(module)
        if group not in self._verdicts:
            self._verdicts[group] = self._has_no_like(member) or self._proof(member)
        if reason := self._verdicts[group]:
            self._alone(self._spec.model.kind, reason)
            return AS_WRITTEN
        return group

    def _has_no_like(self, member: Member) -> str | None:
        """What a module keeps of the values that differ among the trials of a stack, if it keeps any."""
        default = settings_for(self._spec, build_space(self._spec).default())
        values = {n: default[n] if n in PER_TRIAL and n in default else v for n, v in member.settings.model.items()}
        usual = build_module(self._spec, values, self._data.info, seed=member.seed)
        return difference([rewritten(member.make_module()), rewritten(usual)])

    def _proof(self, member: Member) -> str | None:
        """Why a module cannot be trained as a row; found out by this trial, and one of another seed."""
        seed = key(member.seed, "twin")
        build = partial(build_module, self._spec, member.settings.model, self._data.info, seed=seed)
        twin = replace(member, seed=seed, make_module=build)
        num_outputs = self._data.info.num_outputs
        return difference_as_rows([member, twin], self._data.train, loss=self._loss, num_outputs=num_outputs)

    def _open_group(self, group: Group, members: Sequence[Member]) -> Program:
        kind = PlainProgram if group == AS_WRITTEN else ModuleProgram
        return kind(
            members, self._data.train, loss=self._loss, num_outputs=self._data.info.num_outputs, device=self._device,
            half=self._half,
        )  # fmt: skip

    def is_lightning(self, member: Member) -> bool:
        """Whether the task's modules are LightningModules; found out once.

        Raises:
            UserCodeError: they are, and the sweep asks for what it cannot do with them.
        """
        if self._is_lightning is None:
            self._is_lightning = self._spec.model.kind not in MODELS and is_lightning(type(member.make_module()))
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
