"""The seam of storage: the only holder of Optuna studies and trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tuner.records import Json, Params, TrialEvent, TrialRecord, TrialState
from tuner.trials import Trials


class StudyStore(Protocol):
    """One study, with one writer. Records are kept in memory; the database follows, in batches.

    A method that changes a trial updates its record at once and queues the write; `flush` makes all of it
    durable. What a user is told of (a finished trial, a started one) is flushed before it is told.
    """

    @property
    def trials(self) -> Trials:
        """All trials by number, as they are at any moment: for what is asked at every step."""
        ...

    def records(self) -> tuple[TrialRecord, ...]:
        """All trials by number, as they are now."""
        ...

    def interrupted(self) -> tuple[TrialRecord, ...]:
        """The trials that the last run left on their way to `to_epoch`, as they were when the study was opened.

        Sent on with `advance`, they continue from their checkpoints.
        """
        ...

    def start(
        self,
        trials: Sequence[tuple[Params, int, str]],
        *,
        facts: Sequence[Mapping[str, Json]] = (),
        seed: int | None = None,
    ) -> list[TrialRecord]:
        """Create RUNNING trials from (params, to_epoch, tier), numbered onwards; durable when it returns.

        `facts`, if given, holds each trial's first facts. Each trial has a seed of its own, unless `seed` is given.
        """
        ...

    def advance(self, trial: int, to_epoch: int) -> TrialRecord:
        """A PAUSED, interrupted or (to be tried again) FAILED trial is sent on: RUNNING again."""
        ...

    def copy(self, copies: Sequence[tuple[int, int, Params]]) -> list[TrialRecord]:
        """Let PAUSED trials stand where others are, with other values: (trial, source, params) each.

        All of them are durable when it returns; after a crash, all or none.
        """
        ...

    def record(self, event: TrialEvent) -> TrialRecord:
        """Fold an executor's event into the trial's record."""
        ...

    def end(self, trial: int, state: TrialState, reason: str) -> TrialRecord:
        """Give a trial a final state that no event gave it: PRUNED by the strategy, FAILED at reconciliation."""
        ...

    def annotate(self, trial: int, facts: Mapping[str, Json]) -> TrialRecord:
        """Add facts to a trial, whatever its state."""
        ...

    def get(self, key: str) -> Json:
        """A fact of the study (None if it has none of that name): the sweep snapshot, versions, verdicts."""
        ...

    def set(self, key: str, value: Json) -> None:
        """Set a fact of the study."""
        ...

    def flush(self) -> None:
        """Write all that is queued, in as few transactions as possible."""
        ...

    def close(self) -> None:
        """Flush, and give the database up."""
        ...
