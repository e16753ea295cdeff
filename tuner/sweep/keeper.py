"""Which files of ended trials are kept: no checkpoints, and the weights of the best."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence

from tuner.paths import TrialPaths, left_beside, own_place
from tuner.ranking import KEEP_WEIGHTS, rank_trials
from tuner.records import Direction, TrialRecord, TrialState
from tuner.spec.objectives import Objective, pareto_front
from tuner.sweep.watcher import Watcher


class Keeper(Watcher):
    """Removes what will not be needed again as soon as a trial's end is in the database."""

    def __init__(
        self,
        files: Callable[[int], TrialPaths],
        *,
        direction: Direction,
        keep: int = KEEP_WEIGHTS,
        objectives: Sequence[Objective] = (),
    ) -> None:
        """
        Args:
            files: Where a trial's files lie.
            direction: Of the dev metric.
            keep: Weights of so many of the best trials are kept.
            objectives: Further ones: then the weights of the Pareto front are kept as well.
        """
        self._files = files
        self._direction = direction
        self._keep = keep
        self._objectives = tuple(objectives)
        self._kept: list[TrialRecord] = []
        """Finished trials whose weights are kept."""

    def tidy(self, records: Iterable[TrialRecord]) -> None:
        """Do the same for all trials of a study: a run that was killed may have left some."""
        for record in records:
            if record.state.final:
                self.ended(record)

    def ended(self, record: TrialRecord) -> None:
        files = self._files(record.number)
        own_place(files.folder)
        half_written = left_beside(files.folder, named={path.name for path in files.places}.__contains__)
        for path in (files.checkpoint, files.previous_checkpoint, files.new_checkpoint, *half_written):
            path.unlink(missing_ok=True)
        files.progress.unlink(missing_ok=True)
        if record.state is not TrialState.COMPLETE or record.value is None:
            _forget(files)
            return
        known = [*(r for r in self._kept if r.number != record.number), record]
        kept = {r.number for r in rank_trials(known, direction=self._direction)[: self._keep]}
        if self._objectives:
            kept |= {r.number for r in pareto_front(known, direction=self._direction, others=self._objectives)}
        for gone in (r for r in known if r.number not in kept):
            _forget(self._files(gone.number))
        self._kept = [r for r in known if r.number in kept]


def _forget(files: TrialPaths) -> None:
    """Remove a trial's weights, and what the user's own code checkpointed."""
    own_place(files.folder)
    files.weights.unlink(missing_ok=True)
    shutil.rmtree(files.own_checkpoint, ignore_errors=True)
