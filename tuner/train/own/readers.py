"""Reading the epochs of programs that print none for tuner: from their lines, a CSV file, or TensorBoard's events."""

from __future__ import annotations

import csv
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tuner.imports import require
from tuner.spec.model import ReportsSpec
from tuner.train.measure.number import as_number
from tuner.train.own.reports import LineReader, Reader, Report, ReportError, make_report, plain_number


def open_reader(reports: ReportsSpec | None, *, metric: str, place: Path | None) -> Reader:
    """What reads the reports of one start of a trial.

    Args:
        reports: Of the sweep file; None where the program prints lines for tuner.
        metric: The objective's.
        place: The trial's own file or folder, where `csv` or `tensorboard` names one.
    """
    if reports is None:
        return LineReader(metric)
    epochs = _Epochs(reports, metric)
    if place is None:
        return _PatternReader(reports.patterns, epochs)
    if reports.csv is not None:
        return _CsvReader(place, reports.column or metric, epochs)
    return _EventReader(place, reports.tag or metric, epochs)


def check_reader(reports: ReportsSpec) -> None:
    """Make sure that what it needs is installed.

    Raises:
        MissingExtraError: it is not.
    """
    if reports.tensorboard is not None:
        require("tensorboard", extra="tensorboard")


class _Epochs:
    """Makes reports of values: counts epochs as tuner does, and passes over what was said before."""

    def __init__(self, reports: ReportsSpec, metric: str) -> None:
        self.metric = metric
        self._reports = reports
        self._said: dict[int, float] = {}

    def report(self, values: Mapping[str, object], *, nth: int) -> Report | None:
        """The report in values that have the metric's; None if they say nothing new, or are of no whole epoch.

        Args:
            values: By name, with `epoch` or `step` where there is one.
            nth: Which of those that have the metric they are, from 1.

        Raises:
            ReportError: a number is none, or an epoch has two.
        """
        epoch = self._epoch(values, nth)
        if epoch is None:
            return None
        shown = {name: value for name, value in values.items() if name not in ("epoch", "step")}
        report = make_report(epoch, shown, metric=self.metric)
        value = report.values[self.metric]
        if epoch not in self._said:
            self._said[epoch] = value
            return report
        said = self._said[epoch]
        if said == value or (math.isnan(said) and math.isnan(value)):
            return None
        raise ReportError(
            f"epoch {epoch} has two values of {self.metric}, {said:g} and {value:g}; "
            "`reports` must find one for each epoch, as that at its end"
        )

    def _epoch(self, values: Mapping[str, object], nth: int) -> int | None:
        if self._reports.every is not None or (self._reports.patterns and "step" in values):
            number, rest = divmod(_whole(values.get("step"), "step"), self._reports.every or 1)
            return None if rest else number
        return _whole(values["epoch"], "epoch") + 1 - self._reports.first if "epoch" in values else nth


def _whole(value: object, name: str) -> int:
    number = as_number(value)
    if number is None or not number.is_integer():
        raise ReportError(f"{name} must be a whole number, got {value!r}")
    return int(number)


class _PatternReader:
    """Looks for patterns in the lines of both streams: progress bars and loggers write to standard error."""

    def __init__(self, patterns: Sequence[str], epochs: _Epochs) -> None:
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._epochs = epochs
        self._seen: dict[str, object] = {}
        self._count = 0

    def read(self, output: Sequence[str], errors: Sequence[str]) -> list[Report]:
        return [report for line in (*output, *errors) if (report := self._of_line(line)) is not None]

    def _of_line(self, line: str) -> Report | None:
        for pattern in self._patterns:
            if (found := pattern.search(line)) is not None:
                self._seen |= {name: plain_number(text) for name, text in found.groupdict().items() if text}
        if self._epochs.metric not in self._seen:
            return None
        values = self._seen
        # The epoch may stand in a line above all those that are of it, as a heading.
        self._seen = {name: value for name, value in values.items() if name in ("epoch", "step")}
        self._count += 1
        return self._epochs.report(values, nth=self._count)


class _FileReader(ABC):
    """Looks at what a program writes whenever that has changed; what was there before its start is not its own."""

    def __init__(self, place: Path, epochs: _Epochs) -> None:
        self.place = place
        self._epochs = epochs
        self._state: object = None

    def read(self, output: Sequence[str], errors: Sequence[str]) -> list[Report]:
        try:
            state = self._look()
            if state == self._state:
                return []
            values = list(self._values())
        except FileNotFoundError:
            return []  # not yet, or it is just being replaced
        self._state = state
        found = (self._epochs.report(one, nth=nth) for nth, one in enumerate(values, 1))
        return [report for report in found if report is not None]

    @abstractmethod
    def _look(self) -> object:
        """What differs once there is more to read."""

    @abstractmethod
    def _values(self) -> Iterator[Mapping[str, object]]:
        """All values that have the metric's, from the beginning."""


class _CsvReader(_FileReader):
    """Lines of a CSV file; all of it is read each time, since some loggers write it anew when there is a new column."""

    def __init__(self, place: Path, column: str, epochs: _Epochs) -> None:
        super().__init__(place, epochs)
        self._column = column
        self._before = self._text() if place.exists() else ""

    def _look(self) -> object:
        status = self.place.stat()
        return status.st_size, status.st_mtime_ns

    def _text(self) -> str:
        text = self.place.read_text(encoding="utf-8", errors="replace")
        return text[: text.rfind("\n") + 1]

    def _values(self) -> Iterator[Mapping[str, object]]:
        lines = self._text().splitlines()
        old = self._before.splitlines()
        known = len(old) if old and lines[: len(old)] == old else 1
        for row in csv.DictReader([*lines[:1], *lines[known:]]):
            values = {name: plain_number(text) for name, text in row.items() if name and isinstance(text, str) and text}
            if self._column not in row:
                has = ", ".join(name for name in row if name)
                raise ReportError(f"{self.place.name} has no column {self._column}; it has {has}")
            if self._column in values:
                yield {**values, self._epochs.metric: values[self._column]}


class _EventReader(_FileReader):
    """The points of a tag in TensorBoard's event files, read by its own reader."""

    def __init__(self, place: Path, tag: str, epochs: _Epochs) -> None:
        super().__init__(place, epochs)
        self._tag = tag
        self._before = set(self._files())

    def _files(self) -> list[Path]:
        return sorted(self.place.rglob("*tfevents*")) if self.place.is_dir() else []

    def _look(self) -> object:
        return [(file, file.stat().st_size) for file in self._files()] or None

    def _values(self) -> Iterator[Mapping[str, object]]:
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util.tensor_util import make_ndarray

        for file in self._files():
            if file in self._before:
                continue
            for event in EventFileLoader(str(file)).Load():
                for value in event.summary.value:
                    if value.tag == self._tag:
                        yield {"step": event.step, self._epochs.metric: float(make_ndarray(value.tensor))}
