"""A study that goes on, as its page is told of it: everything once, then what has changed.

Reading again what has ended would cost a second for 10,000 trials, and intervals, ties and importances several. Both
are for a thread beside, while a page is open: ended trials once a minute, the rest at most a tenth of the time. Who
asks what has changed waits until something has, for which times of files are looked at.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tuner.errors import TunerError
from tuner.paths import StudyPaths, sqlite_files
from tuner.records import Direction, EpochResult, Json, TrialRecord, TrialState
from tuner.report.analysis import Analysis
from tuner.report.curves import read_curve, read_curves
from tuner.report.figures.chart import Figure
from tuner.report.figures.progress import curves_of
from tuner.report.figures.table import figures_of
from tuner.report.live.now import now_of
from tuner.report.live.rows import LiveRows
from tuner.report.page.data import curve_data, figure_data
from tuner.report.page.html import render_live_page, render_sections
from tuner.store.locations import find_database
from tuner.store.reader import read_study
from tuner.store.study_data import StudyData

_LOOK_SECONDS = 0.03
"""Between two looks at the times of files."""
_TICK_NANOSECONDS = 20_000_000
"""Two changes of a file within so little may leave one time."""
_PAUSE_SECONDS = 0.1
"""Between two readings, at least; and three times what the last one took."""
_SERVER_SECONDS = 2.0
"""Between two readings of a database that no file's time tells of."""
_ALL_AGAIN_SECONDS = 60.0
_SHARE = 9
"""What takes long is worked out again after so many times the seconds of a processor that it took."""
_RUNNING_CURVES = 5
_ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
"""States that a trial does not leave; a failed one is tried again by the next run."""


class LiveStudy:
    """One study; its methods may be called by several threads."""

    def __init__(self, paths: StudyPaths, *, study: str, url: str | None = None) -> None:
        """Read it.

        Raises:
            StudyNotFoundError: there is no such study.
            StorageError: it cannot be read.
        """
        self.paths, self.name, self._url = paths, study, url
        location = find_database(paths, url=url)
        # Who reads writes to the shared memory, so that its time says nothing.
        self._database_files = [
            file for file in sqlite_files(location.path) if location.kind == "sqlite" and not file.name.endswith("-shm")
        ]
        self._lock = threading.Lock()
        self._version = 1
        self._figures_at = 0
        self._ties: frozenset[int] = frozenset()
        self._figures: tuple[Figure, ...] = ()
        self._sections = ""
        self._trouble = ""
        self._seen: object = None
        self._seen_beside: object = None
        self._next_read = self._next_whole = self._next_analysis = 0.0
        self._is_stale, self._is_partly_read = True, False
        """Whether something has changed since what takes long was worked out; since all trials were read."""
        self._thread: threading.Thread | None = None
        self._study = self._read({})
        self._running = _running_in(self._study)
        self._next_whole = time.monotonic() + _ALL_AGAIN_SECONDS
        self._analysis = Analysis(self._study, paths)
        self._rows = LiveRows(self._analysis, version=self._version, notes={})

    def page(self) -> str:
        """The document, with all that is known by now."""
        data = self.changes(-1)
        with self._lock:
            return render_live_page(self._analysis, data=data, sections=self._sections)

    def sections(self) -> str:
        """The document without its data and its script: what has been worked out of verdict, tables and costs."""
        with self._lock:
            return self._sections

    def changes(self, since: int, *, patience_seconds: float = 0.0) -> dict[str, Json]:
        """What has changed since a version, as soon as something has; all of it for one that is not known.

        Args:
            since: The version that a page has; -1 if it has none.
            patience_seconds: How long to wait for a change.
        """
        until = time.monotonic() + patience_seconds
        while True:
            with self._lock:
                self._refresh()
                if since >= 0:
                    self._have_done()
                if since != self._version or time.monotonic() >= until:
                    return self._changes(since)
            time.sleep(_LOOK_SECONDS)

    def _changes(self, since: int) -> dict[str, Json]:
        whole = since < self._rows.since or since > self._version
        after = -1 if whole else since
        found: dict[str, Json] = {"version": self._version, "live": True, "now": self._now()}
        if whole:
            found |= {"whole": True, "metric": self._study.metric}
        found |= self._rows.changes(after)
        if self._figures_at > after:
            found["ties"] = sorted(self._ties)
            found["figures"] = [figure_data(figure) for figure in self._figures]
            found["sections"] = self._figures_at
        return found

    def curves(self, numbers: Sequence[int]) -> dict[str, Json]:
        """The curves of some trials, as they are on disk now."""
        curves = {number: read_curve(self.paths.trial(number).curve) for number in numbers}
        return {str(number): curve_data(curve) for number, curve in curves.items() if curve}

    @property
    def standing(self) -> dict[str, Json]:
        """How it stands now, without its curves."""
        with self._lock:
            self._refresh()
            return self._now_of(self._running)

    def analyse(self) -> None:
        """Work out what takes long, for the study as it was read last."""
        with self._lock:
            study, self._is_stale = self._study, False
        began = time.thread_time()
        analysis = Analysis(study, self.paths)
        try:
            notes, figures, sections = analysis.notes, tuple(figures_of(analysis)), render_sections(analysis)
        except (OSError, TunerError) as error:  # files that change, or go, meanwhile: the next time
            notes, figures, sections = None, self._figures, self._sections
            self._trouble = str(error)
        # The first time it was libraries that were loaded, for the most part.
        took = time.thread_time() - began if self._figures_at else 0.0
        with self._lock:
            self._next_analysis = time.monotonic() + _SHARE * took
            self._figures, self._sections = figures, sections
            self._ties = frozenset(analysis.statistics.ties)
            self._version += 1
            self._figures_at = self._version
            if notes is not None:
                self._rows.note(notes, version=self._version)

    def _refresh(self) -> None:
        """Read the study again if something in it has changed."""
        if (beside := self._stamp_beside()) != self._seen_beside:
            self._seen_beside = beside
            self._version += 1
        moment, (stamp, is_settled) = time.monotonic(), self._stamp()
        if stamp == self._seen or moment < self._next_read:
            return
        known = {r.number: r for r in self._study.records if r.state in _ENDED}
        trouble = ""
        try:
            study = self._read(known)
            if study.identity != self._study.identity:  # made anew under the same name
                study = self._read({})
        except TunerError as error:  # it is being moved, restored or made anew: what was known stays
            trouble = str(error).splitlines()[0]
        else:
            self._seen, self._is_partly_read = stamp if is_settled else None, True
            self._take(study)
        if trouble != self._trouble:
            self._trouble = trouble
            self._version += 1
        took = time.monotonic() - moment
        self._next_read = time.monotonic() + max(_PAUSE_SECONDS, 3 * took)

    def _renew(self) -> None:
        """Read again what has ended, too: another program may have changed it, or taken it away."""
        began, self._is_partly_read = time.monotonic(), False
        with suppress(TunerError):  # the next reading tells of it
            whole = self._read({})
            with self._lock:
                ended = {r.number: r for r in whole.records if r.state in _ENDED}
                there = {r.number for r in whole.records}
                now = [r for r in self._study.records if r.number in there or r.state not in _ENDED]
                if whole.identity == self._study.identity:
                    self._take(replace(self._study, records=tuple(ended.get(r.number, r) for r in now)))
        took = time.monotonic() - began
        self._next_whole = time.monotonic() + max(_ALL_AGAIN_SECONDS, 20 * took)

    def _have_done(self) -> None:
        """Begin to do what takes long, if that is due."""
        is_idle = self._thread is None or not self._thread.is_alive()
        if is_idle and (self._is_analysis_due or self._is_renewal_due):
            self._thread = threading.Thread(target=self._do, daemon=True, name=f"analysis of {self.name}")
            self._thread.start()

    def _do(self) -> None:
        if self._is_renewal_due:
            self._renew()
        if self._is_analysis_due:
            self.analyse()

    @property
    def _is_analysis_due(self) -> bool:
        return self._is_stale and time.monotonic() >= self._next_analysis

    @property
    def _is_renewal_due(self) -> bool:
        return self._is_partly_read and time.monotonic() >= self._next_whole

    def _read(self, known: Mapping[int, TrialRecord]) -> StudyData:
        return read_study(self.paths, study=self.name, url=self._url, with_rungs=False, known=known)

    def _stamp(self) -> tuple[object, bool]:
        """What differs once the database was written, by the times of its files; and whether one more change shows."""
        if not self._database_files:
            return int(time.monotonic() / _SERVER_SECONDS), True
        now, files = time.time_ns(), [_stat(file) for file in (*self._database_files, self.paths.notes)]
        return files, all(abs(now - written_ns) > _TICK_NANOSECONDS for written_ns, _ in files)

    def _stamp_beside(self) -> object:
        """The same of what the database says nothing of."""
        return [_stat(file) for file in (self.paths.log, *(self.paths.trial(r.number).curve for r in self._running))]

    def _take(self, study: StudyData) -> None:
        """Note what has changed."""
        before = self._study
        self._study, self._analysis = study, Analysis(study, self.paths)
        self._running = _running_in(study)
        self._rows = self._rows.follow(self._analysis, version=self._version + 1)
        is_other = self._rows.order_at > self._version
        if is_other or self._beside(study) != self._beside(before):
            self._is_stale = True
            self._version += 1

    @staticmethod
    def _beside(study: StudyData) -> object:
        return study.finalists, study.on_parts, study.notes, study.facts.get("standing"), study.facts.get("tests")

    def _now_of(self, running: Sequence[TrialRecord]) -> dict[str, Json]:
        return now_of(self._study, self.paths, best=self._rows.best, running=running, trouble=self._trouble)

    def _now(self) -> dict[str, Json]:
        """How it stands, with the curves of trials that are being trained."""
        curves = read_curves(self._running, paths=self.paths)
        # The database hears of epochs some time after their curves do.
        running = [_as_far_as(r, curves.get(r.number, ()), self._study.direction) for r in self._running]
        found = self._now_of(running)
        shown = [replace(r, best=None) for r in running if r.number in curves][-_RUNNING_CURVES:]
        chart = curves_of(shown, curves, analysis=self._analysis, of="metric") if found["state"] == "running" else None
        caption = "Dev (solid) and train (dashed) of the trials that were begun last."
        figure = (
            Figure(name="running", section="now", title="In training", caption=caption, drawing=chart)
            if chart
            else None
        )
        return {**found, "figures": [figure_data(figure)] if figure else []}


def _as_far_as(record: TrialRecord, curve: Sequence[EpochResult], direction: Direction) -> TrialRecord:
    """A trial in training as its curve has it, if that has gone further."""
    if not curve or curve[-1].epoch <= record.epochs:
        return record
    return replace(record, last=curve[-1], best=max(curve, key=lambda epoch: direction.sign * epoch.dev_metric))


def _running_in(study: StudyData) -> list[TrialRecord]:
    return [r for r in study.records if r.state is TrialState.RUNNING]


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
