"""From what listeners hear to what trackers are told: each epoch of each run once, whatever became of earlier runs."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tuner.records import Direction, EpochResult, TrialRecord
from tuner.report.curves import read_curve
from tuner.sweep.watcher import Watcher
from tuner.track.kept import KeptRuns
from tuner.track.tracker import TrackedRun, Tracker, is_finalist

_MOST_OPEN = 64
"""Runs that a tracker holds open at a time; a search may have hundreds that are paused."""
_AGAIN_SECONDS = 10.0
"""After so long a tracker that could not be opened is tried again."""


class TellTracker(Watcher):
    """Tells a tracker. What was missed, since it was switched on late, was killed or had failed, is made up for."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker = tracker
        self._kept = KeptRuns(tracker.folder / "runs.jsonl")
        self._open: OrderedDict[str, TrackedRun] = OrderedDict()
        self._is_open = False
        self._ended: list[TrialRecord] = []
        """Had ended before the tracker could be opened."""
        self._failed_at = -_AGAIN_SECONDS
        self.where = ""
        """Where people see it."""

    def opened(self, records: Sequence[TrialRecord], *, metric: str, direction: Direction) -> None:
        self._tracker.metric, self._tracker.direction = metric, direction
        self._ended += [record for record in records if record.state.final]
        self._make_ready()

    def started(self, records: Sequence[TrialRecord]) -> None:
        self._make_ready()
        for record in records:
            self._run(record).ended = False  # a failed trial that is tried again
            with self._begun(record):
                pass

    def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        self._make_ready()
        run = self._run(record)
        new = [result for result in results if result.epoch > run.epochs]
        if new and new[0].epoch > run.epochs + 1:
            new = [result for result in self._curve(record) if run.epochs < result.epoch < new[0].epoch] + new
        if new:
            with self._begun(record):
                self._tracker.log(run, record, new)
            run.epochs = new[-1].epoch
            self._kept.keep(run)

    def ended(self, record: TrialRecord) -> None:
        self._make_ready()
        self._end(record)

    def finished(self, best: TrialRecord | None) -> None:
        """The sweep is done, and its reports are written, which call this trial the best."""
        self._make_ready()
        self._suspend_all()
        self._tracker.finish(None if best is None else self._run(best), best)

    def close(self) -> None:
        """Nothing comes after it."""
        if self._is_open:
            self._suspend_all()
            self._tracker.close()

    def _make_ready(self) -> None:
        """Open the tracker, unless it is; then say what had ended before."""
        if not self._is_open:
            if time.monotonic() - self._failed_at < _AGAIN_SECONDS:
                raise ConnectionError("it could not be opened a moment ago")
            try:
                self.where = self._tracker.open()
            except BaseException:
                self._failed_at = time.monotonic()
                raise
            self._is_open = True
        while self._ended:
            self._end(self._ended[0])
            self._ended.pop(0)

    def _end(self, record: TrialRecord) -> None:
        run = self._run(record)
        if run.ended:
            return
        with self._begun(record):
            if new := [result for result in self._curve(record) if result.epoch > run.epochs]:
                self._tracker.log(run, record, new)
                run.epochs = new[-1].epoch
            self._tracker.end(run, record)
        del self._open[run.name]
        run.ended = True
        self._kept.keep(run)

    @contextmanager
    def _begun(self, record: TrialRecord) -> Iterator[None]:
        """Within the block the run is open; it begins again where something in it fails."""
        run, had = self._run(record), self._run(record).id
        if run.name not in self._open:
            if len(self._open) >= _MOST_OPEN:
                self._tracker.suspend(self._open.popitem(last=False)[1])
            try:
                self._tracker.begin(run, record)
            finally:
                if run.id != had:
                    self._kept.keep(run)
            self._open[run.name] = run
        self._open.move_to_end(run.name)
        try:
            yield
        except BaseException:
            self._open.pop(run.name, None)
            raise

    def _suspend_all(self) -> None:
        while self._open:
            self._tracker.suspend(self._open.popitem()[1])

    def _run(self, record: TrialRecord) -> TrackedRun:
        name = f"trial-{record.number:04d}"
        if is_finalist(record):
            name = f"finalist-{record.number:04d}-of-trial-{record.facts.get('repeat_of')}"
        return self._kept.run(name)

    def _curve(self, record: TrialRecord) -> tuple[EpochResult, ...]:
        paths = self._tracker.paths
        files = paths.finalist(record.number) if is_finalist(record) else paths.trial(record.number)
        return tuple(result for result in read_curve(files.curve) if 0 < result.epoch <= record.epochs)
