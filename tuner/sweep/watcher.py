"""Who listens to a sweep: progress displays, logs, trackers. All of them consume records; none can change the run."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tuner.records import TrialRecord

log = logging.getLogger(__name__)


class Watcher:
    """Base of the listeners: override what is of interest."""

    def started(self, records: Sequence[TrialRecord]) -> None:
        """Trials were created, or sent on."""

    def progressed(self, records: Sequence[TrialRecord]) -> None:
        """Trials have finished epochs."""

    def ended(self, record: TrialRecord) -> None:
        """A trial has its final state, and the database holds it."""

    def said(self, line: str) -> None:
        """The search, or the sweep, explains itself."""


class Watchers(Watcher):
    """Several listeners as one. A listener that raises is warned of and dropped; the sweep goes on."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = list(watchers)

    def started(self, records: Sequence[TrialRecord]) -> None:
        self._each("started", records)

    def progressed(self, records: Sequence[TrialRecord]) -> None:
        self._each("progressed", records)

    def ended(self, record: TrialRecord) -> None:
        self._each("ended", record)

    def said(self, line: str) -> None:
        self._each("said", line)

    def _each(self, verb: str, argument: object) -> None:
        for watcher in list(self._watchers):
            try:
                getattr(watcher, verb)(argument)
            except Exception as error:
                self._watchers.remove(watcher)
                log.warning("%s failed and is left out: %s", type(watcher).__name__, error)
