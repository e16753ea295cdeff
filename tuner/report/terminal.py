"""The leaderboard on a terminal: as many columns as fit, the rest named below it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self, TextIO

from rich import box
from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from tuner.records import Json
from tuner.report.tables.formats import cell_text, cells_of, tab_separated
from tuner.report.words.escape import visible
from tuner.report.words.numbers import metric_text, number_of, trials_text

if TYPE_CHECKING:  # a conclusion that was drawn earlier is shown without pandas
    import pandas as pd

    from tuner.report.analysis import Analysis

_LATE_COLUMNS = ("seed", "tier", "ci_low", "ci_high", "verdict", "flags")
"""Columns that only a file shows, unless asked for by name."""
_FIRST_TO_GO = ("reason", "best_epoch", "seconds", "epochs", "parameters", "state")
_NEVER_TO_GO = 2
"""`rank` and `trial` stay at any width."""

Cells = Mapping[str, Sequence[object]]
"""The cells of each column of a leaderboard, None where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Conclusion:
    """What a terminal shows of a study in the end: plain values, which can be kept and shown once more."""

    study: str
    metric: str
    cells: Cells
    """Of the best trials."""
    footer: str
    """How many trials there are."""
    lines: tuple[str, ...]
    """What the report says in words."""
    best: str
    """Which trial is the final choice, and why; empty without one."""
    answer: str
    """Which trials predict together; empty where the final choice predicts alone."""
    baselines: str
    """The verdict on simple models; empty without one."""
    spared: str
    """What pruning has spared; empty if nothing."""

    @classmethod
    def of(cls, analysis: Analysis, *, top: int = 10, in_words: bool = True) -> Self:
        """What is shown of an analysis, with the best `top` trials; in a pipe nobody reads what it says in words."""
        from tuner.report.summary import summarise
        from tuner.report.worth import baseline_verdict

        frame, choice, cost = analysis.frame, analysis.choice, analysis.cost
        shown = frame.head(top)
        total = cost.epochs + cost.epochs_spared
        return cls(
            study=analysis.study.name,
            metric=analysis.study.metric,
            cells=cells_of(shown),
            footer=_footer(frame, shown=len(shown)),
            lines=tuple(summarise(analysis).lines) if in_words else (),
            best="" if choice is None else f"best: trial {choice.record.number}, {choice.why}",
            answer=_answer(analysis),
            baselines=baseline_verdict(analysis) if in_words else "",
            spared=f"pruning spared {cost.epochs_spared} of {total} epochs ({cost.share_spared:.0%})"
            if cost.epochs_spared
            else "",
        )

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """What `to_json` has made.

        Raises:
            TypeError: it was another version of it.
        """
        return cls(**{**kept, "lines": tuple(kept["lines"])})

    def print(self, *, stream: TextIO | None = None) -> None:
        """Print the table and, on a terminal, the words below it; elsewhere its lines are separated by tabs."""
        stream = sys.stdout if stream is None else stream
        if not stream.isatty():
            stream.write(tab_separated(self.cells, metric=self.metric))
            return
        hidden = {f"last_dev_{self.metric}", *_LATE_COLUMNS}
        if set(self.cells["state"]) == {"complete"}:
            hidden.add("state")
        shown = {name: cells for name, cells in self.cells.items() if name not in hidden}
        print_table(shown, name=self.study, metric=self.metric, stream=stream, footer=self.footer)
        _print_lines(self.lines, stream=stream)


def _answer(analysis: Analysis) -> str:
    answer, metric = analysis.answer, analysis.study.metric
    if answer is None or not answer.is_average:
        return ""
    return f"answer: {trials_text(answer.numbers)}, dev {metric} {metric_text(answer.value, metric=metric)}"


def _print_lines(lines: Sequence[str], *, stream: TextIO) -> None:
    """Print the sentences of a summary below a table, the first ones set off."""
    console = Console(file=stream, width=_terminal_width(), highlight=False)
    for line in lines:
        padded = Table.grid(padding=(0, 1))
        padded.add_row("•", escape(visible(line)))
        console.print(padded)


def _terminal_width() -> int:
    return shutil.get_terminal_size((100, 24)).columns


def print_table(columns: Cells, *, name: str, metric: str, stream: TextIO, footer: str = "") -> None:
    """Draw a study's columns as wide as the terminal allows, and name those left out.

    Args:
        columns: What to draw.
        name: The study's.
        metric: The study's.
        stream: Where to.
        footer: A line below.
    """
    width = _terminal_width()
    cells = {n: [cell_text(c, column=n, metric=metric) for c in column] for n, column in columns.items()}
    if "rank" in cells and "tie" in cells:
        cells["rank"] = [
            f"={rank}" if tie and rank != "1" else rank
            for rank, tie in zip(cells["rank"], cells.pop("tie"), strict=True)
        ]
        footer = f"{footer} = before a rank: cannot be told from the best.".strip()
    kept = _fitting(cells, width=width)
    table = Table(
        title=escape(visible(name)),
        title_justify="left",
        header_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in kept:
        justify: JustifyMethod = "right" if _is_numeric(columns[column]) else "left"
        table.add_column(escape(_heading(column)), justify=justify, vertical="bottom", no_wrap=True)
    for row in zip(*(cells[n] for n in kept), strict=True):
        table.add_row(*(escape(cell) for cell in row), style="bold" if row[0] == "1" else "")
    console = Console(file=stream, width=width, highlight=False)
    console.print(table)
    left_out = [visible(n) for n in cells if n not in kept]
    if left_out:
        console.print(f"Not shown for lack of room: {', '.join(left_out)}.", style="dim", markup=False)
    if footer:
        console.print(footer, style="dim", markup=False)


def _is_numeric(cells: Sequence[object]) -> bool:
    return all(cell is None or isinstance(cell, int | float) for cell in cells)


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
