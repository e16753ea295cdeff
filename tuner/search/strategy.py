"""The seam of the search: a strategy is a pure function of the trial records.

It sees no study, no process and no tensor; the same records always give the same decisions, so a study can be
killed and continued at any moment. Randomness comes from (search seed, number of records) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tuner.records import Params, TrialRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Begin a new trial and advance it to `to_epoch`."""

    params: Params
    to_epoch: int
    tier: str
    """The part of the search that proposes it; becomes `TrialRecord.tier`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advance:
    """Continue a PAUSED trial to a later epoch."""

    trial: int
    to_epoch: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """Give a PAUSED trial up for good; it becomes PRUNED."""

    trial: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy:
    """A PAUSED trial goes on from where another one is, PAUSED at the same epoch, with other values; it stays PAUSED.

    All copies of one answer are made before anything else of it, and all or none of them.
    """

    trial: int
    source: int
    params: Params


Decision: TypeAlias = Start | Advance | Stop | Copy


@dataclass(frozen=True, slots=True)
class Cohorts:
    """A device on which trials that are alike in some values train as one, in hardly more time than a single trial."""

    size: int
    """How many are to start together."""
    alike: frozenset[str]
    """The hyperparameters whose values they must share."""


class Strategy(Protocol):
    """Chooses which trials to start, to advance, to give up and to copy."""

    def decide(self, records: Sequence[TrialRecord], room: int) -> list[Decision]:
        """The next decisions.

        Called again whenever an executor has room. An empty list while no record is RUNNING ends the search;
        trials still PAUSED then become PRUNED with their best value.

        Args:
            records: All trials of the study, by number; RUNNING ones are pending.
            room: How many jobs (starts and advances) are wanted; at most so many are returned. Stops and copies are
                free.
        """
        ...

    def explain(self) -> tuple[str, ...]:
        """Lines for the log since the last call: which tier opened and why, which trial was thawed, and so on."""
        ...
