"""Who listens to a sweep: progress displays, logs, trackers. All of them consume records; none can change the run."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tuner.records import Direction, EpochResult, TrialRecord

log = logging.getLogger(__name__)


class Watcher:
    """Base of the listeners: override what is of interest."""

    def opened(self, records: Sequence[TrialRecord], *, metric: str, direction: Direction) -> None:
        """A run begins to search, or to train finalists: the trials, or finalists, that earlier runs have left.

        Args:
            records: In the order of their numbers; none in a new study.
            metric: What trials are ranked by, as it was measured: never `auto`.
            direction: Which way it is better.
        """

    def started(self, records: Sequence[TrialRecord]) -> None:
        """Trials were created, or sent on."""

    def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        """A trial has finished these epochs, in order; `record` is how it stands now.

        Each epoch of each trial is told once, over all runs of the study: what a resumed trial trains again is not
        told again, and what was trained but not told when a run was killed is told by the next one. The same holds for
        finalists: their `tier` is `finalist`, their numbers are their own.
        """

    def ended(self, record: TrialRecord) -> None:
        """A trial has its final state, and the database holds it."""

    def said(self, line: str) -> None:
        """The search, or the sweep, explains itself."""


class Watchers(Watcher):
    """Several listeners as one. A listener that raises is warned of and dropped; the sweep goes on."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = list(watchers)

    def opened(self, records: Sequence[TrialRecord], *, metric: str, direction: Direction) -> None:
        self._each("opened", records, metric=metric, direction=direction)

    def started(self, records: Sequence[TrialRecord]) -> None:
        self._each("started", records)

    def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        self._each("epochs", record, results)

    def ended(self, record: TrialRecord) -> None:
        self._each("ended", record)

    def said(self, line: str) -> None:
        self._each("said", line)

    def _each(self, verb: str, *arguments: object, **named: object) -> None:
        for watcher in list(self._watchers):
            try:
                getattr(watcher, verb)(*arguments, **named)
            except Exception as error:
                self._watchers.remove(watcher)
                log.warning("%s failed and is left out: %s", type(watcher).__name__, error)
