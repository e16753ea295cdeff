"""The files of a study's report."""

from __future__ import annotations

from pathlib import Path

from tuner.paths import StudyPaths, own_place
from tuner.report.analysis import Analysis
from tuner.report.files import write_atomically
from tuner.report.summary import summarise
from tuner.report.tables.formats import to_csv, to_json, to_markdown
from tuner.store.study_data import StudyData


def write_reports(study: StudyData, paths: StudyPaths) -> Analysis:
    """Write the leaderboard (CSV, JSON, Markdown), `best/`, `mistakes/`, the page and its plots; no file is half.

    Returns what they are made from.
    """
    analysis = write_tables(study, paths)
    _write_mistakes(analysis, paths)
    write_page(analysis, paths)
    return analysis


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


def write_page(analysis: Analysis, paths: StudyPaths) -> None:
    """Write the HTML page and its plots."""
    write_atomically(paths.report_html, html_report(analysis, plots=paths.plots))


def html_report(analysis: Analysis, *, plots: Path | None = None) -> str:
    """The HTML report.

    Args:
        analysis: What to report.
        plots: A folder to write its figures to as well, as PNG files; those of an earlier report are replaced, and what
            bears no mark of ours stays.
    """
    from markupsafe import Markup

    from tuner.report.figures.style import is_ours, to_png, to_svg
    from tuner.report.figures.table import drawn
    from tuner.report.page.html import PagePlot, render_page

    page_plots: list[PagePlot] = []
    written: set[str] = set()
    for plot, figure in drawn(analysis):
        svg = Markup(to_svg(figure, prefix=plot.name))  # drawn by us; its texts are escaped by matplotlib
        page_plots.append(PagePlot(plot.section, plot.title, plot.caption, svg))
        if plots is not None:
            write_atomically(plots / f"{plot.name}.png", to_png(figure), sync=False)
            written.add(f"{plot.name}.png")
    if plots is not None and plots.is_dir():
        for old in own_place(plots).glob("*.png"):
            if old.name not in written and is_ours(old):
                old.unlink(missing_ok=True)
    return render_page(analysis, page_plots)
