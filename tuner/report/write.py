"""The files of a study's report."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, Executor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.paths import StudyPaths, own_place
from tuner.report.analysis import Analysis
from tuner.report.files import write_atomically
from tuner.report.summary import summarise
from tuner.report.tables.formats import to_csv, to_json, to_markdown
from tuner.store.study_data import StudyData

if TYPE_CHECKING:
    from tuner.report.figures.chart import Figure
    from tuner.report.figures.columns import Columns


def write_reports(study: StudyData, paths: StudyPaths) -> None:
    """Write the leaderboard (CSV, JSON, Markdown), `best/`, `mistakes/`, the page and its plots; no file is half."""
    write_drawings(write_tables(study, paths), paths)


def write_drawings(analysis: Analysis, paths: StudyPaths, pool: Executor | None = None) -> None:
    """Write what takes longer than the tables: `mistakes/`, the page and its plots, these in a pool if there is one."""
    _write_mistakes(analysis, paths)
    write_page(analysis, paths, pool)


def _write_mistakes(analysis: Analysis, paths: StudyPaths) -> None:
    """Write tables of what the best trial gets wrong, and of its scores by groups."""
    for groups in analysis.groups:
        path = paths.mistakes / groups.mistakes.part / "groups.csv"
        write_atomically(path, groups.table().to_csv(index=False, lineterminator="\n"), sync=False)
    for found in analysis.mistakes:
        for name, table in found.tables().items():
            path = paths.mistakes / found.part / f"{name}.csv"
            write_atomically(path, table.to_csv(index=False, lineterminator="\n"), sync=False)


def write_tables(study: StudyData, paths: StudyPaths) -> Analysis:
    """Write the leaderboard and `best/`, and return what they are made from."""
    from tuner.report.best import write_best

    analysis = Analysis(study, paths)
    lines = summarise(analysis).lines
    write_atomically(paths.leaderboard_csv, to_csv(analysis.frame, study))
    write_atomically(paths.leaderboard_json, to_json(analysis.frame, study, lines=lines, more=analysis.more))
    write_atomically(paths.leaderboard_md, to_markdown(analysis.frame, study, lines=lines))
    write_best(study, paths)
    return analysis


def write_page(analysis: Analysis, paths: StudyPaths, pool: Executor | None = None) -> None:
    """Write the HTML page and the folder plots."""
    write_atomically(paths.report_html, html_report(analysis))
    _write_plots(analysis, paths.plots, pool)


def html_report(analysis: Analysis) -> str:
    """The HTML report."""
    from tuner.report.page.html import render_page

    return render_page(analysis)


def _write_plots(analysis: Analysis, folder: Path, pool: Executor | None) -> None:
    """Write the figures as PNG files; those of an earlier report are replaced, what bears no mark of ours stays."""
    import tuner.report.figures.drawing  # noqa: F401  # here, so that processes forked from now on have it
    from tuner.report.figures.columns import trial_columns
    from tuner.report.figures.style import is_ours
    from tuner.report.figures.table import figures_of

    figures = list(figures_of(analysis))
    write = partial(_write_plot, columns=trial_columns(analysis), folder=folder)
    try:
        list((pool.map if pool else map)(write, figures))
    except BrokenExecutor:  # a process of the pool was killed, as it is where memory runs out
        list(map(write, figures))
    written = {f"{figure.name}.png" for figure in figures}
    if folder.is_dir():
        for old in own_place(folder).glob("*.png"):
            if old.name not in written and is_ours(old):
                old.unlink(missing_ok=True)


def _write_plot(figure: Figure, *, columns: Columns, folder: Path) -> None:
    from tuner.report.figures.drawing import draw
    from tuner.report.figures.style import to_png

    write_atomically(folder / f"{figure.name}.png", to_png(draw(figure, columns)), sync=False)
