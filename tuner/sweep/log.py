"""The log of a study: what the search said of its decisions, and how each trial ended."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tuner.paths import own_place
from tuner.records import TrialRecord
from tuner.report.words.escape import visible
from tuner.sweep.watcher import Watcher


class LogFile(Watcher):
    """Adds lines to a file, over all runs of a study; each begins with its moment (UTC)."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def ended(self, record: TrialRecord) -> None:
        value = "no value" if record.value is None else f"dev {record.value:.6g}"
        self.said(f"{record.name} {record.state}: {value}, {record.epochs} epochs ({record.reason})")

    def said(self, line: str) -> None:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with own_place(self._path).open("a", encoding="utf-8") as file:
            file.write(f"{now} {visible(line)}\n")
