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

from tuner.report.escape import visible
from tuner.report.formats import cell_text, to_tsv
from tuner.report.leaderboard import leaderboard
from tuner.store.reader import StudyData

_LATE_COLUMNS = ("seed", "tier", "ci_low", "ci_high", "verdict", "flags")
"""Columns that only a file shows, unless asked for by name."""
_FIRST_TO_GO = ("reason", "tie", "best_epoch", "seconds", "epochs", "parameters", "state")
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
        frame: The leaderboard if it is at hand, or a selection of its rows and columns.
    """
    stream = sys.stdout if stream is None else stream
    whole = leaderboard(study) if frame is None else frame
    shown = whole if top is None else whole.head(top)
    if not stream.isatty():
        stream.write(to_tsv(shown, study))
        return
    if frame is None:
        hidden = {f"last_dev_{study.metric}", *_LATE_COLUMNS}
        if set(shown["state"]) == {"complete"}:
            hidden.add("state")
        shown = shown[[c for c in shown.columns if c not in hidden]]
    print_table(shown, study, stream=stream, footer=_footer(whole, shown=len(shown)))


def print_table(frame: pd.DataFrame, study: StudyData, *, stream: TextIO, footer: str = "") -> None:
    """Draw the frame as wide as the terminal allows, and name the columns left out."""
    width = shutil.get_terminal_size((100, 24)).columns
    cells = {str(n): [cell_text(c, column=str(n), metric=study.metric) for c in frame[n].tolist()] for n in frame}
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
    return f"{min(shown, len(frame))} of {len(frame)} trials ({states}).{apart}"
