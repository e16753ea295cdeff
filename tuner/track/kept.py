"""What a tracker has of each run, in a file: so that the next run of the study continues them."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path

from tuner.track.tracker import TrackedRun

_FIELDS = {field.name for field in fields(TrackedRun)}


class KeptRuns:
    """The runs of a tracker by name. Each change is a line that is added to the file; the last one of a run counts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._runs: dict[str, TrackedRun] = {}
        self._has_whole_lines = True
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            self._has_whole_lines = not text or text.endswith("\n")
            for line in text.splitlines():
                self._take(line)

    def run(self, name: str) -> TrackedRun:
        """What is known of a run; a new one if nothing is."""
        return self._runs.setdefault(name, TrackedRun(name))

    def keep(self, run: TrackedRun) -> None:
        """Write down how it stands."""
        before = "" if self._has_whole_lines else "\n"
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{before}{json.dumps(asdict(run))}\n")
        self._has_whole_lines = True

    def _take(self, line: str) -> None:
        try:
            values = json.loads(line)
        except ValueError:  # cut by a kill
            return
        if isinstance(values, dict) and values.keys() == _FIELDS:
            self._runs[values["name"]] = TrackedRun(**values)
