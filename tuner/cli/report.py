"""`tuner report`: the ranked trials of a study, in any format, at any time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tuner.cli.completion import studies
from tuner.cli.locate import locate, location_options
from tuner.cli.names import NameIn
from tuner.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from tuner.report.analysis import Analysis

_FIGURES_ALONE = ("table", "csv", "parquet")
"""Formats that hold nothing but the rows; a table says more in a terminal."""


@click.command()
@click.argument("study", shell_complete=studies)
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Only the first N rows (table: 20 unless given).")
@click.option("--sort", metavar="COLUMN", help="Order by a column instead of the rank.")
@click.option("--reverse", is_flag=True, help="With --sort: largest first.")
@click.option("--columns", metavar="A,B,..", help="Only these columns, in this order.")
@click.option(
    "--format", "format_name",
    type=NameIn("tuner.report.tables.formats:FORMATS", also=("table", "html"), plugins="formats"),
    default="table", show_default=True, help="`html` is the whole report with its figures, as one file.",
)  # fmt: skip
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file.")
@click.option("--excel", is_flag=True, help="With --format csv: keep spreadsheets from reading text as formulas.")
@click.option("--write", is_flag=True, help="Write the report files in the study's folder anew, and print nothing.")
@location_options
def report(
    study: str,
    top: int | None,
    sort: str | None,
    reverse: bool,
    columns: str | None,
    format_name: str,
    output: Path | None,
    excel: bool,
    write: bool,
    results: Path,
    store: str | None,
) -> None:
    """Print the ranked trials of STUDY: a sweep file, a study's name or its folder.

    Works while the sweep runs. Pruned and failed trials follow the ranked ones without a rank.

    Example: tuner report digits --top 5 --columns rank,trial,dev_accuracy,learning_rate --format markdown
    """
    from tuner.cli.command_line import outdated_test_of
    from tuner.report.analysis import Analysis
    from tuner.store.reader import read_study

    if excel and format_name != "csv":
        raise UsageError("--excel shapes CSV only; add --format csv")
    location = locate(study, results=results, store=store)
    data = read_study(location.paths, study=location.study, url=location.store_url, with_rungs=False)
    if write:
        from tuner.report.write import write_reports

        write_reports(data, location.paths)
        click.echo(str(location.paths.report_html), err=True)
        return
    analysis = Analysis(data, location.paths)
    is_said = format_name not in _FIGURES_ALONE or (format_name == "table" and output is None and sys.stdout.isatty())
    if not is_said and (outdated := outdated_test_of(data, location)):
        click.echo(outdated, err=True)
    if format_name == "table" and output is None:
        _print_table(analysis, top=20 if top is None else top, sort=sort, reverse=reverse, columns=columns)
        return
    if format_name == "html" and sort is None and columns is None and not reverse:
        from tuner.report.write import html_report

        _put_out(html_report(analysis), format_name, output)
        return
    frame = _select(analysis.frame, sort=sort, reverse=reverse, columns=columns)
    content = _formatted(analysis, frame if top is None else frame.head(top), format_name, excel=excel)
    _put_out(content, format_name, output)


def _print_table(analysis: Analysis, *, top: int, sort: str | None, reverse: bool, columns: str | None) -> None:
    from tuner.report.tables.formats import cells_of, to_tsv
    from tuner.report.terminal import Conclusion, print_table

    if sort is None and columns is None and not reverse:
        Conclusion.of(analysis, top=top, in_words=sys.stdout.isatty()).print()
        return
    shown = _select(analysis.frame, sort=sort, reverse=reverse, columns=columns).head(top)
    if sys.stdout.isatty():
        study = analysis.study
        print_table(cells_of(shown), name=study.name, metric=study.metric, stream=sys.stdout)
    else:
        sys.stdout.write(to_tsv(shown, analysis.study))


def _formatted(analysis: Analysis, frame: pd.DataFrame, format_name: str, *, excel: bool) -> str | bytes:
    from tuner.imports import load_plugin
    from tuner.plugins import plugins
    from tuner.report.summary import summarise
    from tuner.report.tables.formats import FORMATS, to_excel_csv, to_json, to_markdown, to_tsv
    from tuner.report.write import html_report

    match format_name:
        case "html":
            return html_report(analysis)
        case "json":
            return to_json(frame, analysis.study, lines=summarise(analysis).lines, more=analysis.more)
        case "markdown":
            return to_markdown(frame, analysis.study, lines=summarise(analysis).lines)
        case "csv" if excel:
            return to_excel_csv(frame, analysis.study)
        case "table":
            return to_tsv(frame, analysis.study)
        case _:
            form: Any = FORMATS.get(format_name) or load_plugin(plugins("formats")[format_name])
            written: str | bytes = form(frame, analysis.study)
            return written


def _put_out(content: str | bytes, format_name: str, output: Path | None) -> None:
    from tuner.report.files import write_output
    from tuner.report.words.escape import visible_lines

    if output is not None:
        write_output(output, content)
    elif isinstance(content, str):
        # Data for a program stay as they are; a terminal would obey the control characters in them.
        sys.stdout.write(visible_lines(content) if sys.stdout.isatty() else content)
    elif sys.stdout.isatty():
        raise UsageError(f"{format_name} is binary; write it to a file with -o FILE")
    else:
        sys.stdout.buffer.write(content)


def _select(frame: pd.DataFrame, *, sort: str | None, reverse: bool, columns: str | None) -> pd.DataFrame:
    if sort is not None:
        name = _column(frame, sort)
        # As text where types are mixed: numbers and strings have no order among each other.
        key = None if frame[name].dtype != object else (lambda cells: cells.map(str))
        frame = frame.sort_values(name, ascending=not reverse, kind="stable", na_position="last", key=key)
    elif reverse:
        raise UsageError("--reverse turns the order of --sort around; add --sort COLUMN")
    if columns is not None:
        names = [_column(frame, name.strip()) for name in columns.split(",")]
        if twice := [name for name in names if names.count(name) > 1]:
            raise UsageError(f'--columns names "{twice[0]}" twice')
        frame = frame[names]
    return frame


def _column(frame: pd.DataFrame, name: str) -> str:
    import difflib

    names = [str(c) for c in frame.columns]
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f'Did you mean "{near[0]}"?' if near else f"Columns: {', '.join(names)}."
    raise UsageError(f'the report has no column "{name}". {hint}')
