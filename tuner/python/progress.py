"""Progress of a run: a live display on a terminal or in a notebook, elsewhere one line for each trial that ends."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tuner.python.cell import CellProgress, is_notebook
from tuner.python.tally import Tally, trial_line
from tuner.records import Direction, EpochResult, TrialRecord
from tuner.report.words.escape import visible, visible_lines
from tuner.report.words.numbers import metric_text, short_time
from tuner.spec.model import SweepSpec
from tuner.sweep.watcher import Watcher

_SHOWN_RUNNING = 6
"""Running trials in the live display."""


@contextmanager
def open_progress(spec: SweepSpec, *, quiet: bool = False, log_level: int | None = None) -> Iterator[Watcher]:
    """The display that fits where it is seen: a notebook's cell, or where stderr goes.

    Args:
        spec: What runs.
        quiet: Show nothing.
        log_level: Of the log that is shown beside it; None where logging is the caller's own affair.
    """
    console = Console(stderr=True, highlight=False)
    if log_level is not None:
        logging.basicConfig(level=log_level, handlers=[_handler(console)])
    logging.getLogger("optuna").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if quiet:
        yield Watcher()
    elif is_notebook():
        with closing(CellProgress(Tally(spec), study=spec.study)) as cell, warnings.catch_warnings():
            # Optuna's progress bars, which nobody uses here, miss a widget.
            warnings.filterwarnings("ignore", message="IProgress not found")
            yield cell
    elif console.is_terminal:
        display = _LiveProgress(spec, console)
        with display.live:
            yield display
    else:
        yield _LineProgress(spec)


def _handler(console: Console) -> logging.Handler:
    """Warnings in the display's way on a terminal; elsewhere one line each, which no width breaks."""
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_time=False, show_path=False, markup=False)
        handler.setFormatter(_VisibleFormatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(_VisibleFormatter("%(levelname)s %(message)s"))
    return handler


class _VisibleFormatter(logging.Formatter):
    """Messages quote names, and errors of users' code: none of them may command the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible_lines(super().format(record))


class _LineProgress(Watcher):
    """One line for each trial that ends; for pipes, logs and CI."""

    def __init__(self, spec: SweepSpec) -> None:
        self._metric = spec.objective.metric

    def opened(self, records: Sequence[TrialRecord], *, metric: str, direction: Direction) -> None:
        self._metric = metric

    def ended(self, record: TrialRecord) -> None:
        _print_line(trial_line(record, metric=self._metric))

    def said(self, line: str) -> None:
        _print_line(line)


class _LiveProgress(Watcher):
    """Overall bar, best so far, and the running trials, redrawn in place."""

    def __init__(self, spec: SweepSpec, console: Console) -> None:
        self._standing = Tally(spec)
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[eta]}"),
            console=console,
            expand=True,
        )
        # Until the study is open nobody knows where earlier runs have ended.
        self._task = self._bar.add_task(escape(spec.study), total=None, eta="starting")
        self.live = Live(get_renderable=self._render, console=console, refresh_per_second=4, transient=True)

    def opened(self, records: Sequence[TrialRecord], *, metric: str, direction: Direction) -> None:
        self._standing.open(records, metric=metric, direction=direction)
        self._refresh()

    def started(self, records: Sequence[TrialRecord]) -> None:
        self._standing.update(records)
        self._refresh()

    def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        self._standing.update([record])  # shown at the next redraw: of many small trials epochs come by the hundred

    def ended(self, record: TrialRecord) -> None:
        self._standing.end(record)
        if self._standing.better(record):
            said = trial_line(record, metric=self._standing.metric)
            self.live.console.print(f"[green]best so far[/] {escape(visible(said))}")
        self._refresh()

    def said(self, line: str) -> None:
        self.live.console.print(f"[dim]{escape(visible_lines(line))}[/]")

    def _refresh(self) -> None:
        standing = self._standing
        left = standing.seconds_left
        self._bar.update(
            self._task,
            completed=standing.ended,
            total=standing.due,
            eta="" if left is None else f"about {short_time(left)} left",
        )

    def _render(self) -> Group:
        """Called by the thread that redraws."""
        standing = self._standing
        table = Table(box=None, padding=(0, 2), header_style="dim")
        for name in ("trial", "tier", "epoch", "train loss", "dev loss", f"dev {visible(standing.metric)}"):
            table.add_column(escape(name), justify="left" if name == "tier" else "right")
        running = sorted((r for r in list(standing.running.values()) if r.epochs), key=lambda r: r.number)
        waiting = len(standing.running) - len(running)
        for record in running[:_SHOWN_RUNNING]:
            last = record.last
            figures = ("", "", "") if last is None else (
                f"{last.train_loss:.4g}", f"{last.dev_loss:.4g}", metric_text(last.dev_metric, metric=standing.metric),
            )  # fmt: skip
            table.add_row(
                record.name.removeprefix("trial "),
                escape(visible(record.tier)),
                f"{record.epochs}/{standing.epochs}",
                *figures,
            )
        parts: list[object] = [self._bar]
        if standing.best is not None:
            value = metric_text(standing.best.value, metric=standing.metric)
            parts.append(f"  best: trial {standing.best.number}, dev {escape(visible(standing.metric))} {value}")
        if running:
            parts.append(table)
        more = max(0, len(running) - _SHOWN_RUNNING)
        if more or waiting:
            parts.append(f"  [dim]{f'and {more} more, ' if more else ''}{waiting} waiting[/]")
        return Group(*parts)  # type: ignore[arg-type]


def _print_line(line: str) -> None:
    print(visible_lines(line), file=sys.stderr, flush=True)
