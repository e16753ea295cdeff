"""The leaderboard on a terminal: as many columns as fit, the rest named below it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import TextIO

import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from tuner.report.analysis import Analysis
from tuner.report.summary import summarise
from tuner.report.tables.formats import cell_text, to_tsv
from tuner.report.tables.leaderboard import leaderboard
from tuner.report.words.escape import visible
from tuner.report.words.numbers import number_of
from tuner.store.study_data import StudyData

_LATE_COLUMNS = ("seed", "tier", "ci_low", "ci_high", "verdict", "flags")
"""Columns that only a file shows, unless asked for by name."""
_FIRST_TO_GO = ("reason", "best_epoch", "seconds", "epochs", "parameters", "state")
_NEVER_TO_GO = 2
"""`rank` and `trial` stay at any width."""


def print_leaderboard(
    study: StudyData, *, top: int | None = 10, stream: TextIO | None = None, frame: pd.DataFrame | None = None
) -> None:
    """Print the best `top` trials (None: all): a table on a terminal, tab-separated lines elsewhere.

    Args:
        study: The study to print.
        top: How many rows.
        stream: Where to; stdout if None.
        frame: The leaderboard if it is at hand, with what the statistics say of each trial.
    """
    stream = sys.stdout if stream is None else stream
    whole = leaderboard(study) if frame is None else frame
    shown = whole if top is None else whole.head(top)
    if not stream.isatty():
        stream.write(to_tsv(shown, study))
        return
    hidden = {f"last_dev_{study.metric}", *_LATE_COLUMNS}
    if set(shown["state"]) == {"complete"}:
        hidden.add("state")
    footer = _footer(whole, shown=len(shown))
    print_table(shown[[c for c in shown.columns if c not in hidden]], study, stream=stream, footer=footer)


def _print_lines(lines: Sequence[str], *, stream: TextIO | None = None) -> None:
    """Print the sentences of a summary below a table, the first ones set off."""
    console = Console(file=stream or sys.stdout, width=_terminal_width(), highlight=False)
    for line in lines:
        padded = Table.grid(padding=(0, 1))
        padded.add_row("•", escape(visible(line)))
        console.print(padded)


def _terminal_width() -> int:
    return shutil.get_terminal_size((100, 24)).columns


def print_report(analysis: Analysis, *, top: int | None = 10, stream: TextIO | None = None) -> None:
    """Print the best trials with their ties and, on a terminal, what the report says in words below them."""
    stream = sys.stdout if stream is None else stream
    print_leaderboard(analysis.study, top=top, stream=stream, frame=analysis.frame)
    if stream.isatty():
        _print_lines(summarise(analysis).lines, stream=stream)


def print_table(frame: pd.DataFrame, study: StudyData, *, stream: TextIO, footer: str = "") -> None:
    """Draw the frame as wide as the terminal allows, and name the columns left out."""
    width = _terminal_width()
    cells = {str(n): [cell_text(c, column=str(n), metric=study.metric) for c in frame[n].tolist()] for n in frame}
    if "rank" in cells and "tie" in cells:
        cells["rank"] = [
            f"={rank}" if tie and rank != "1" else rank
            for rank, tie in zip(cells["rank"], cells.pop("tie"), strict=True)
        ]
        footer = f"{footer} = before a rank: cannot be told from the best.".strip()
    kept = _fitting(cells, width=width)
    table = Table(
        title=escape(visible(study.name)),
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for name in kept:
        justify: JustifyMethod = "right" if pd.api.types.is_numeric_dtype(frame[name]) else "left"
        table.add_column(escape(_heading(name)), justify=justify, vertical="bottom", no_wrap=True)
    for row in zip(*(cells[n] for n in kept), strict=True):
        table.add_row(*(escape(cell) for cell in row), style="bold" if row[0] == "1" else "")
    console = Console(file=stream, width=width, highlight=False)
    console.print(table)
    left_out = [visible(n) for n in cells if n not in kept]
    if left_out:
        console.print(f"Not shown for lack of room: {', '.join(left_out)}.", style="dim", markup=False)
    if footer:
        console.print(footer, style="dim", markup=False)


def _fitting(cells: dict[str, list[str]], *, width: int) -> list[str]:
    """The names of the columns that fit: the least telling go first, then hyperparameters from the last tier on."""
    kept = list(cells)
    last_to_first = [n for n in reversed(kept[_NEVER_TO_GO:]) if n not in _FIRST_TO_GO]
    going = [n for n in _FIRST_TO_GO if n in kept] + last_to_first
    for name in going:
        if _width(cells, kept) <= width:
            break
        kept.remove(name)
    return kept


def _width(cells: dict[str, list[str]], names: Sequence[str]) -> int:
    # Two spaces between columns, one after the last.
    return sum(max(cell_len(text) for text in [*_heading(n).split("\n"), *cells[n]]) + 2 for n in names) - 1


def _heading(name: str) -> str:
    """The name over as many lines as it has words, since most columns are narrower than their names."""
    return visible(name).replace("_", "\n")


def _footer(frame: pd.DataFrame, *, shown: int) -> str:
    ranked = int(frame["rank"].notna().sum())
    counts = frame["state"].value_counts()
    states = ", ".join(f"{counts[s]} {s}" for s in counts.index)
    apart = "" if ranked == len(frame) else " Only finished trials are ranked."
    return f"{min(shown, len(frame))} of {number_of(len(frame), 'trial')} ({states}).{apart}"
