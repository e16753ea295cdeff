"""The ways to train a trial, and the one place where one of them is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Way(StrEnum):
    """How a trial is trained. The values are what studies keep, so they stay as they are."""

    STACKED = "stacked"
    """A built-in network, as a row of the stacked program."""
    TOGETHER = "vmap"
    """A user's module, as a row of a stack of modules like it."""
    PLAIN = "plain"
    """A module as it is written, in a loop of its own."""
    LIGHTNING = "lightning"
    COMMAND = "command"
    TRAINER = "trainer"

    @property
    def is_fused(self) -> bool:
        """Whether trials train together, and not one after the other."""
        return self in (Way.STACKED, Way.TOGETHER)

    @property
    def words(self) -> str:
        match self:
            case Way.STACKED:
                return "as a row of a stack"
            case Way.TOGETHER:
                return "as a row of a stack, which is proven to compute the same"
            case Way.LIGHTNING:
                return "by Lightning's Trainer, one trial after the other"
            case _:
                return "one trial at a time"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """All that the choice depends on."""

    is_lightning: bool = False
    """Whether the module is a LightningModule."""
    """Whether the training inputs stay on disk."""
    users_part: str | None = None
    """What of a step is the user's own (a loss, an optimiser), in words."""
    fuse: str = "auto"
    """`training.fuse` of the sweep file."""
    is_built_in: bool = False
    """Whether the network is one of tuner's."""
    begun_as_written: bool = False
    """Whether the trial goes on from a checkpoint of the plain loop."""
    differs: str | None = None
    """Why a row of a stack does not compute what the module as written does."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How a trial is trained, and why it is not fused."""

    way: Way
    reason: str | None = None
    refusal: str | None = None
    """What is said in place of "... cannot be fused: REASON" where it must be."""


def choose(case: Case) -> Choice:
    """How a trial is trained: the first that applies, since each of these rules out all below it."""
    if case.is_lightning:
        reason = "it is a LightningModule, which Lightning's Trainer trains with its own training_step"
        return Choice(Way.LIGHTNING, reason)
    if case.users_part is not None:
        return Choice(Way.PLAIN, case.users_part, f"trials cannot be fused: {case.users_part}")
    if case.fuse == "off":
        return Choice(Way.PLAIN)
    if case.is_built_in:
        return Choice(Way.STACKED)
    if case.begun_as_written:
        return Choice(Way.PLAIN, "it was begun as written")
    return Choice(Way.PLAIN, case.differs) if case.differs is not None else Choice(Way.TOGETHER)
