"""A study that goes on, as its page is told of it: everything once, then what has changed.

Reading again what has ended would cost a second for 10,000 trials, and intervals, ties and importances several. So
ended trials are read once a minute, and what takes long is worked out in a thread beside, at most a tenth of the time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tuner.errors import TunerError
from tuner.paths import StudyPaths
from tuner.records import Direction, EpochResult, Json, TrialRecord, TrialState
from tuner.report.analysis import Analysis
from tuner.report.curves import read_curve, read_curves
from tuner.report.figures.chart import Figure
from tuner.report.figures.progress import curves_of
from tuner.report.figures.table import figures_of
from tuner.report.live.now import now_of
from tuner.report.page.data import Point, curve_data, figure_data, points_of, trials_data
from tuner.report.page.html import render_live_page, render_sections
from tuner.report.page.table import Notes, PageTable, order_of
from tuner.store.reader import read_study
from tuner.store.study_data import StudyData

_PAUSE_SECONDS = 0.4
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
        self._lock = threading.Lock()
        self._version = 0
        self._changed: dict[int, int] = {}
        """In which version each trial changed last."""
        self._whole_at = self._order_at = self._figures_at = 0
        self._cells: dict[int, list[str]] = {}
        self._points: dict[int, Point] = {}
        self._notes: Notes = {}
        self._ties: frozenset[int] = frozenset()
        self._figures: tuple[Figure, ...] = ()
        self._sections = ""
        self._trouble = ""
        self._seen: object = None
        self._next_read = self._next_whole = self._next_analysis = 0.0
        self._is_stale = True
        """Whether something has changed since what takes long was worked out."""
        self._thread: threading.Thread | None = None
        self._study = self._read({})
        self._next_whole = time.monotonic() + _ALL_AGAIN_SECONDS
        self._analysis = Analysis(self._study, paths)
        self._table = PageTable.of(self._analysis)
        self._take(self._study)

    def page(self) -> str:
        """The document, with all that is known by now."""
        data = self.changes(-1)
        with self._lock:
            return render_live_page(self._analysis, data=data, sections=self._sections)

    def sections(self) -> str:
        """The document without its data and its script: what has been worked out of verdict, tables and costs."""
        with self._lock:
            return self._sections

    def changes(self, since: int) -> dict[str, Json]:
        """What has changed since a version; all of it for one that is not known."""
        with self._lock:
            self._refresh()
            whole = since < self._whole_at or since > self._version
            after = -1 if whole else since
            records = [r for r in self._study.records if self._changed[r.number] > after]
            found: dict[str, Json] = {"version": self._version, "live": True, "now": self._now()}
            if whole:
                found |= {"whole": True, "metric": self._study.metric}
            if records or whole:
                cells = [self._cells[r.number] for r in records]
                found["trials"] = trials_data([self._points[r.number] for r in records], cells=cells)
            if self._order_at > after:
                found |= self._table.head(list(self._cells.values())) | order_of(self._analysis)
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
            return now_of(self._study, self.paths, trouble=self._trouble)

    def analyse(self) -> None:
        """Work out what takes long, for the study as it was read last."""
        with self._lock:
            study, self._is_stale = self._study, False
        began = time.thread_time()
        analysis = Analysis(study, self.paths)
        try:
            notes, figures, sections = analysis.notes, tuple(figures_of(analysis)), render_sections(analysis)
        except (OSError, TunerError) as error:  # files that change, or go, meanwhile: the next time
            notes, figures, sections = self._notes, self._figures, self._sections
            self._trouble = str(error)
        # The first time it was libraries that were loaded, for the most part.
        took = time.thread_time() - began if self._figures_at else 0.0
        with self._lock:
            self._next_analysis = time.monotonic() + _SHARE * took
            self._notes, self._figures, self._sections = notes, figures, sections
            self._ties = frozenset(analysis.statistics.ties)
            self._version += 1
            self._figures_at = self._version
            for record in self._study.records:
                self._fill(record)

    def _refresh(self) -> None:
        """Read the study again if something in it has changed, and have it analysed if that is due."""
        moment, stamp = time.monotonic(), self._stamp()
        if stamp != self._seen and moment >= self._next_read:
            again = moment >= self._next_whole
            known = {} if again else {r.number: r for r in self._study.records if r.state in _ENDED}
            try:
                study = self._read(known)
                if study.identity != self._study.identity:  # made anew under the same name
                    study, again = self._read({}), True
            except TunerError as error:  # it is being moved, restored or made anew: what was known stays
                self._trouble = str(error).splitlines()[0]
            else:
                self._seen, self._trouble = stamp, ""
                self._take(study)
            took = time.monotonic() - moment
            self._next_read = time.monotonic() + max(_PAUSE_SECONDS, 3 * took)
            if again:
                self._next_whole = time.monotonic() + max(_ALL_AGAIN_SECONDS, 20 * took)
        is_idle = self._thread is None or not self._thread.is_alive()
        if self._is_stale and is_idle and moment >= self._next_analysis:
            self._thread = threading.Thread(target=self.analyse, daemon=True, name=f"analysis of {self.name}")
            self._thread.start()

    def _read(self, known: Mapping[int, TrialRecord]) -> StudyData:
        return read_study(self.paths, study=self.name, url=self._url, with_rungs=False, known=known)

    def _stamp(self) -> object:
        """What differs once something was written: times and sizes of files."""
        running = [self.paths.trial(r.number).curve for r in self._running] if self._seen is not None else []
        beat = int(time.monotonic() / _SERVER_SECONDS) if self._url is not None else 0
        return beat, [_stat(file) for file in (*self.paths.database_files, self.paths.log, self.paths.notes, *running)]

    def _take(self, study: StudyData) -> None:
        """Note what has changed."""
        before = {r.number: r for r in self._study.records} if study.notes == self._study.notes else {}
        analysis = Analysis(study, self.paths)
        table = PageTable.of(analysis)
        self._version += 1
        is_new = study.identity != self._study.identity or len(self._study.records) > len(study.records)
        if is_new or not self._whole_at or table.groups != self._table.groups:
            self._whole_at, before, self._cells, self._points = self._version, {}, {}, {}
        beside = self._beside(self._study)
        self._study, self._analysis, self._table = study, analysis, table
        new = [r for r in study.records if before.get(r.number) != r]
        for record, point in zip(new, points_of(new, analysis), strict=True):
            self._fill(record)
            if point != self._points.get(record.number):
                self._points[record.number], self._changed[record.number] = point, self._version
        is_other = new or is_new or self._whole_at == self._version
        if is_other:
            self._order_at = self._version
        self._is_stale |= bool(is_other) or self._beside(study) != beside

    def _fill(self, record: TrialRecord) -> None:
        """Write a trial's row, and note it if it reads otherwise than before."""
        cells = self._table.cells(record, self._notes.get(record.number))
        if cells != self._cells.get(record.number):
            self._cells[record.number], self._changed[record.number] = cells, self._version

    @staticmethod
    def _beside(study: StudyData) -> object:
        return study.finalists, study.on_parts, study.notes, study.facts.get("standing"), study.facts.get("tests")

    @property
    def _running(self) -> list[TrialRecord]:
        return [r for r in self._study.records if r.state is TrialState.RUNNING]

    def _now(self) -> dict[str, Json]:
        """How it stands, with the curves of trials that are being trained."""
        curves = read_curves(self._running, paths=self.paths)
        # The database hears of epochs some time after their curves do.
        ahead = tuple(_as_far_as(r, curves.get(r.number, ()), self._study.direction) for r in self._study.records)
        found = now_of(replace(self._study, records=ahead), self.paths, trouble=self._trouble)
        running = self._running if found["state"] == "running" else []
        shown = [replace(r, best=None) for r in running if r.number in curves][-_RUNNING_CURVES:]
        chart = curves_of(shown, curves, analysis=self._analysis, of="metric")
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


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size
