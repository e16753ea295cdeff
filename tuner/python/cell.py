"""Progress of a run in a notebook: one output of a cell, which is replaced as the run goes on."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Sequence
from html import escape
from typing import Any

from tuner.python.tally import Tally
from tuner.records import Direction, EpochResult, TrialRecord
from tuner.report.words.numbers import metric_text, short_time
from tuner.sweep.watcher import Watcher

_SHOWN_RUNNING = 6
_PAUSE_SECONDS = 0.5
"""So long at least between two outputs: each is kept in the page, and sent over a network."""
_LINES = 4
"""Of what the run has said, the last so many stay in sight."""


def is_notebook() -> bool:
    """Whether output goes to a notebook's cell."""
    interactive: Any = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class CellProgress(Watcher):
    """A bar, the best trial so far, the trials in training, and what the run has said last."""

    def __init__(self, tally: Tally, *, study: str) -> None:
        self._tally = tally
        self._study = study
        self._said: list[str] = []
        self._shown = 0.0
        self._handle: Any = None
        self._over = False

    def opened(self, records: Sequence[TrialRecord], *, metric: str, direction: Direction) -> None:
        self._tally.open(records, metric=metric, direction=direction)
        self._show()

    def started(self, records: Sequence[TrialRecord]) -> None:
        self._tally.update(records)
        self._show_soon()

    def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        self._tally.update([record])
        self._show_soon()

    def ended(self, record: TrialRecord) -> None:
        self._tally.end(record)
        self._tally.better(record)
        self._show_soon()

    def said(self, line: str) -> None:
        self._said.append(line)
        self._show()

    def close(self) -> None:
        """Show how it has ended."""
        self._over = True
        if self._handle is not None:
            self._show()

    def _show_soon(self) -> None:
        if time.monotonic() - self._shown >= _PAUSE_SECONDS:
            self._show()

    def _show(self) -> None:
        page: Any = importlib.import_module("IPython.display")  # it is there: this is a notebook

        self._shown = time.monotonic()
        if self._handle is None:
            self._handle = page.display(page.HTML(self.html()), display_id=True)
        else:
            self._handle.update(page.HTML(self.html()))

    def html(self) -> str:
        """How the run stands."""
        tally = self._tally
        kind = "finalists" if tally.confirming else "trials"
        left = None if self._over else tally.seconds_left
        told = [f"{tally.ended} of {tally.due} {kind}"]
        if tally.best is not None:
            value = metric_text(tally.best.value, metric=tally.metric)
            told.append(f"best: trial {tally.best.number}, dev {tally.metric} {value}")
        if left is not None:
            told.append(f"about {short_time(left)} left")
        bar = f'<progress value="{tally.ended}" max="{max(1, tally.due)}" style="width: 18em"></progress>'
        head = f"<div><b>{escape(self._study)}</b> {bar} {escape(' · '.join(told))}</div>"
        lines = "".join(f"<div style='opacity: 0.7'>{escape(line)}</div>" for line in self._said[-_LINES:])
        return head + lines + ("" if self._over else self._running())

    def _running(self) -> str:
        tally = self._tally
        running = sorted((r for r in tally.running.values() if r.last is not None), key=lambda r: r.number)
        if not running:
            return ""
        names = ("trial", "tier", "epoch", "train loss", "dev loss", f"dev {tally.metric}")
        rows = [_row(record, tally) for record in running[:_SHOWN_RUNNING]]
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in names)}</tr>{body}</table>"


def _row(record: TrialRecord, tally: Tally) -> Sequence[str]:
    last = record.last
    assert last is not None
    return (
        record.name.removeprefix("trial "), record.tier, f"{record.epochs}/{tally.epochs}", f"{last.train_loss:.4g}",
        f"{last.dev_loss:.4g}", metric_text(last.dev_metric, metric=tally.metric),
    )  # fmt: skip
