"""Notes in a study how far it has come, so that `tuner status` and reports can say so when the run is over."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from tuner.errors import StorageError
from tuner.store.standing import STANDING, Stage, Standing
from tuner.store.store import StudyStore
from tuner.sweep.stop import StopRequest


class StandingNotes:
    """The notes of one run."""

    def __init__(self, store: StudyStore, stop: StopRequest, *, search_only_before: bool) -> None:
        """Begin a run.

        Args:
            store: The study's.
            stop: Tells why a run that was asked to stop has stopped.
            search_only_before: The run does not search: a search that is not done stays so, whatever the run does.
        """
        self._store = store
        self._stop = stop
        before = Standing.of({STANDING: store.get(STANDING)})
        self._writes = not search_only_before or before is not None  # of a study that has no notes, none begin here
        self._moves = not search_only_before or (before is not None and before.stage != "search")
        self.now = replace(before, stop="") if search_only_before and before else Standing()
        if self._moves:
            self._set(self.now)

    def come_to(self, stage: Stage, *, search_end: str | None = None) -> None:
        """All before the stage is done."""
        if self._moves:
            end = self.now.search_end if search_end is None else search_end
            self._set(Standing(stage=stage, search_end=end))

    @contextmanager
    def of_stops(self) -> Iterator[None]:
        """Within the block, what ends the run early is noted."""
        try:
            yield
        except BaseException as error:
            with suppress(StorageError):  # it is kept beside the database then
                self._set(replace(self.now, stop=_why(error)))
            raise
        if self._stop.requested:
            self._set(replace(self.now, stop=_why_asked(self._stop)))

    def _set(self, standing: Standing) -> None:
        self.now = standing
        if self._writes:
            self._store.set(STANDING, standing.to_json())


def _why_asked(stop: StopRequest) -> str:
    return signal.Signals(stop.signal).name if stop.signal is not None else "out of time"


def _why(error: BaseException) -> str:
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        return signal.Signals(error.code - 128).name
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
