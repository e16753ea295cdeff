"""Progress of a run: a live display on a terminal, one line for each finished trial elsewhere. Both on stderr."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from rich.console import Console, Group
from rich.live import Live
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from tuner.ranking import best_trial
from tuner.records import FINALIST, Direction, EpochResult, TrialRecord, TrialState
from tuner.report.words.escape import visible, visible_lines
from tuner.report.words.numbers import metric_text
from tuner.spec.model import SweepSpec
from tuner.sweep.watcher import Watcher

_SHOWN_RUNNING = 6
"""Running trials in the live display."""


@contextmanager
def open_progress(spec: SweepSpec, *, quiet: bool, verbose: bool) -> Iterator[Watcher]:
    """The display that fits where stderr goes."""
    console = Console(stderr=True, highlight=False)
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, handlers=[_handler(console)])
    logging.getLogger("optuna").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    if quiet:
        yield Watcher()
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


class _Standing:
    """What both displays know: counts over all runs of the study, the best so far, this run's pace."""

    def __init__(self, spec: SweepSpec) -> None:
        self._spec = spec
        self.total = spec.search.trials
        self.epochs = spec.training.epochs
        self.finalists = 0 if spec.finalists is None else spec.finalists.count * spec.finalists.seeds
        self.metric = spec.objective.metric
        self._direction = Direction.MAXIMIZE
        self._ended: dict[bool, set[int]] = {False: set(), True: set()}
        """The numbers of trials, and of finalists."""
        self._epochs: dict[tuple[bool, int], int] = {}
        """Of each, as far as it is known."""
        self._trained = self._trained_here = 0
        """Epochs, in all runs and in this one."""
        self._num_complete = self._complete_epochs = 0
        """Of this run: trials stop early by themselves, and so take less than was expected."""
        self.running: dict[int, TrialRecord] = {}
        self.best: TrialRecord | None = None
        self.confirming = False
        self._began = time.monotonic()

    def open(self, records: Sequence[TrialRecord], *, metric: str, direction: Direction) -> None:
        """Begin where earlier runs have ended."""
        self.metric, self._direction = metric, direction
        for record in records:
            if record.state.final:
                self._ended[_is_finalist(record)].add(record.number)
            self._count(record, here=False)
            self.better(record)

    def update(self, records: Sequence[TrialRecord]) -> None:
        for record in records:
            self.running[record.number] = record
            self._ended[_is_finalist(record)].discard(record.number)  # a failed trial that is tried again
            self._count(record)
            self.confirming = _is_finalist(record)

    def end(self, record: TrialRecord) -> None:
        self.running.pop(record.number, None)
        self._count(record)
        self._ended[_is_finalist(record)].add(record.number)
        if record.state is TrialState.COMPLETE:
            self._num_complete += 1
            self._complete_epochs += record.epochs

    def _count(self, record: TrialRecord, *, here: bool = True) -> None:
        key = (_is_finalist(record), record.number)
        more = max(0, record.epochs - self._epochs.get(key, 0))
        self._epochs[key] = self._epochs.get(key, 0) + more
        self._trained += more
        self._trained_here += more * here

    @property
    def ended(self) -> int:
        """Trials, or while finalists are trained these, that have ended in any run."""
        return len(self._ended[self.confirming])

    @property
    def due(self) -> int:
        """Trials, or finalists, that there are to be."""
        return max(self.finalists, self.ended) if self.confirming else self.total

    def better(self, record: TrialRecord) -> bool:
        """Whether this is the best finished trial so far; remembered if so."""
        before = [] if self.best is None else [self.best]
        if record.tier == FINALIST or best_trial([*before, record], direction=self._direction) is not record:
            return False
        self.best = record
        return True

    @property
    def seconds_left(self) -> float | None:
        """Estimated from this run's seconds for each epoch; None before a trial has been trained to its end."""
        if not self._num_complete:
            return None
        share = min(1.0, self._complete_epochs / (self._num_complete * self.epochs))
        if self.confirming:
            left = share * self.epochs * (self.due - self.ended)
        else:
            left = share * self._expected_epochs - self._trained
        return (time.monotonic() - self._began) / max(1, self._trained_here) * max(0.0, left)

    @cached_property
    def _expected_epochs(self) -> int:
        from tuner.sweep.forecast import expected_epochs  # late: not before the workers have begun to load

        return expected_epochs(self._spec)


def _is_finalist(record: TrialRecord) -> bool:
    return record.tier == FINALIST


class _LineProgress(Watcher):
    """One line for each trial that ends; for pipes, logs and CI."""

    def __init__(self, spec: SweepSpec) -> None:
        self._metric = spec.objective.metric

    def opened(self, records: Sequence[TrialRecord], *, metric: str, direction: Direction) -> None:
        self._metric = metric

    def ended(self, record: TrialRecord) -> None:
        _print_line(_ending(record, metric=self._metric))

    def said(self, line: str) -> None:
        _print_line(line)


class _LiveProgress(Watcher):
    """Overall bar, best so far, and the running trials, redrawn in place."""

    def __init__(self, spec: SweepSpec, console: Console) -> None:
        self._standing = _Standing(spec)
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
        self._task = self._bar.add_task(escape(spec.study), total=self._standing.total, eta="")
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
            said = _ending(record, metric=self._standing.metric)
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
            eta="" if left is None else f"about {_short(left)} left",
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


def _ending(record: TrialRecord, *, metric: str) -> str:
    """A trial that has ended, in one line."""
    value = "-" if record.value is None else metric_text(record.value, metric=metric)
    params = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in record.params.items())
    return (
        f"{record.name} {record.state}: dev {value}, {record.epochs} epochs, {record.seconds:.1f} s "
        f"({record.reason}) {params}"
    )


def _short(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _print_line(line: str) -> None:
    print(visible_lines(line), file=sys.stderr, flush=True)
