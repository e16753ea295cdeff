"""The seam of execution: jobs in, events out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tuner.execute.facts import TaskFacts
from tuner.records import TrialEvent, TrialJob


class Executor(Protocol):
    """Trains jobs somewhere else than in the process that samples (except `inline`).

    Every submitted job ends with exactly one of `TrialPaused`, `TrialFinished`, `TrialFailed` or
    `TrialInterrupted`, whatever happens to the worker.
    """

    @property
    def facts(self) -> TaskFacts:
        """The task's facts; waits until a worker has loaded the data.

        Raises:
            DataError: the data cannot be used.
            UserCodeError: the user's code cannot be imported.
        """
        ...

    def check_model(self) -> None:
        """Have a worker look at the user's model before the first trial; nothing is trained or written.

        Raises:
            TunerError: it cannot be trained; the message says what is wrong.
        """
        ...

    def submit(self, jobs: Sequence[TrialJob]) -> None:
        """Queue jobs; returns at once."""
        ...

    def room(self) -> int:
        """How many more jobs it wants now to keep its workers and cohorts full; 0 while it has enough."""
        ...

    def events(self, timeout_seconds: float) -> list[TrialEvent]:
        """The events since the last call, in order for each trial; waits up to the timeout for the first.

        Raises:
            StorageError: the trials' files cannot be written.
            DataError, UserCodeError: a worker that died cannot be replaced, since what it loads is no longer there.
            ClusterLostError: the machines that train are gone.
        """
        ...

    def let_go(self, folders: Sequence[str]) -> None:
        """Give back what is held for paused trials, named by their folders, that will not go on."""
        ...

    def interrupt(self) -> None:
        """Ask every job to checkpoint and end with `TrialInterrupted`; jobs not yet begun end so at once."""
        ...

    def close(self) -> None:
        """End the workers and everything that they started. Jobs still running are lost to their checkpoint."""
        ...
