"""The trials of a study that goes on, as the page has them; a change costs little, however many there are."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from tuner.ranking import place_key
from tuner.records import Json, TrialRecord
from tuner.report.analysis import Analysis
from tuner.report.page.data import Point, points_of, trials_data
from tuner.report.page.table import Notes, PageTable, is_number


class LiveRows:
    """Rows, points and order of all trials, and in which version each of them changed last."""

    def __init__(self, analysis: Analysis, *, version: int, notes: Notes) -> None:
        """Those of a study as it was read now, all of them new.

        Args:
            analysis: Of the study.
            version: The one that begins with them.
            notes: What the statistics say of its trials.
        """
        self.since = self.order_at = version
        self._notes = notes
        self._table = PageTable.of(analysis)
        self._texts = [0] * (len(self._table.names) - 1)
        """By column, how many of its cells are no numbers."""
        self._study = analysis.study
        self._records: dict[int, TrialRecord] = {}
        self._seen: set[str] = set()
        """Names of all that a trial has."""
        self._changed: dict[int, int] = {}
        self._cells: dict[int, list[str]] = {}
        self._points: dict[int, Point] = {}
        self._places: dict[int, tuple[float, ...]] = {}
        self._place_of = place_key(analysis.study.direction)
        self._order: list[int] = []
        self._put(analysis.study.records, analysis, version)

    def follow(self, analysis: Analysis, *, version: int) -> LiveRows:
        """Those of the study as it is now: these with what has changed, or others if columns are or a trial is gone."""
        old, study = self._study, analysis.study
        new = [r for r in study.records if (known := self._records.get(r.number)) is not r and known != r]
        is_other = study.identity != old.identity or study.notes != old.notes or len(study.records) < len(old.records)
        if not is_other and (study.facts != old.facts or any(self._names(r) - self._seen for r in new)):
            is_other = PageTable.of(analysis).groups != self._table.groups
        if is_other:
            return LiveRows(analysis, version=version, notes=self._notes)
        self._study = study
        self._put(new, analysis, version)
        return self

    def note(self, notes: Notes, *, version: int) -> None:
        """Take in what the statistics say of the trials."""
        old, self._notes = self._notes, notes
        for record in self._study.records:
            if notes.get(record.number) != old.get(record.number):
                self._fill(record, version)

    def changes(self, after: int) -> dict[str, Json]:
        """What has changed since a version; -1 stands for the time before all of them."""
        numbers = [number for number, version in self._changed.items() if version > after]
        found: dict[str, Json] = {}
        if numbers or after < self.since:
            cells = [self._cells[number] for number in numbers]
            found["trials"] = trials_data([self._points[number] for number in numbers], cells=cells)
        if self.order_at > after:
            found |= self._table.head([not texts for texts in self._texts])
            found |= {"order": self._order, "ranked": self._num_ranked}
        return found

    @property
    def best(self) -> TrialRecord | None:
        """The first in rank; None while no trial has finished."""
        return self._records[self._order[0]] if self._num_ranked else None

    @property
    def _num_ranked(self) -> int:
        first_apart: tuple[float, ...] = (1.0,)
        return bisect_left(self._order, first_apart, key=self._places.__getitem__)

    @staticmethod
    def _names(record: TrialRecord) -> set[str]:
        return {*record.params, *record.objectives}

    def _put(self, records: Sequence[TrialRecord], analysis: Analysis, version: int) -> None:
        """Take in trials that are new, or other than before."""
        for record, point in zip(records, points_of(records, analysis), strict=True):
            number = record.number
            if number not in self._records:
                self._order.append(number)
            self._records[number] = record
            self._places[number] = self._place_of(record)
            self._seen |= self._names(record)
            self._fill(record, version)
            if point != self._points.get(number):
                self._points[number], self._changed[number] = point, version
        if records:
            self._order.sort(key=self._places.__getitem__)  # most of it is in order, and costs a look each
            self.order_at = version

    def _fill(self, record: TrialRecord, version: int) -> None:
        """Write a trial's row, and note it if it reads otherwise than before."""
        cells, old = self._table.cells(record, self._notes.get(record.number)), self._cells.get(record.number)
        if cells == old:
            return
        for place, cell in enumerate(cells):
            self._texts[place] += not is_number(cell)
            if old is not None:
                self._texts[place] -= not is_number(old[place])
        self._cells[record.number], self._changed[record.number] = cells, version
