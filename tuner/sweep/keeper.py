"""Which files of ended trials are kept: no checkpoints, and the weights of the best."""

from __future__ import annotations

import heapq
import shutil
from collections.abc import Callable, Iterable

from tuner.paths import TrialPaths
from tuner.records import Direction, TrialRecord, TrialState
from tuner.sweep.watcher import Watcher

KEEP_WEIGHTS = 5
"""Weights are kept of so many of the best trials."""


class Keeper(Watcher):
    """Removes what will not be needed again as soon as a trial's end is in the database."""

    def __init__(self, files: Callable[[int], TrialPaths], *, direction: Direction, keep: int = KEEP_WEIGHTS) -> None:
        self._files = files
        self._sign = 1.0 if direction is Direction.MAXIMIZE else -1.0
        self._keep = keep
        self._best: list[tuple[float, int, int]] = []
        """(value to maximise, minus the parameters, minus the trial's number) of those whose weights are kept: the
        leaderboard's order, as a heap with the worst first."""

    def tidy(self, records: Iterable[TrialRecord]) -> None:
        """Do the same for all trials of a study: a run that was killed may have left some."""
        for record in records:
            if record.state.final:
                self.ended(record)

    def ended(self, record: TrialRecord) -> None:
        files = self._files(record.number)
        half_written = files.folder.glob(".*.tmp")  # by a process that was killed
        for path in (files.checkpoint, files.previous_checkpoint, files.new_checkpoint, *half_written):
            path.unlink(missing_ok=True)
        files.progress.unlink(missing_ok=True)
        if record.state is TrialState.COMPLETE and record.value is not None:
            heapq.heappush(self._best, (self._sign * record.value, -record.num_parameters, -record.number))
            if len(self._best) <= self._keep:
                return
            files = self._files(-heapq.heappop(self._best)[2])
        files.weights.unlink(missing_ok=True)
        shutil.rmtree(files.own_checkpoint, ignore_errors=True)
