"""`tuner compare`: two studies, or two trials, side by side."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli.completion import studies
from tuner.cli.locate import locate, location_options

if TYPE_CHECKING:
    from tuner.report.compare import Comparison, Side


@click.command()
@click.argument("a", shell_complete=studies)
@click.argument("b", shell_complete=studies)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw it: .png or .svg.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@location_options
def compare(a: str, b: str, plot: Path | None, as_json: bool, results: Path, store: str | None) -> None:
    """Compare A and B: studies, or trials as STUDY:NUMBER.

    Differences are B less A. On the same dev examples they are paired, and studies are also compared at equal
    numbers of trials and of epochs.

    Example: tuner compare digits digits-adam, or tuner compare digits:3 digits:17
    """
    from tuner.report.compare import compare as compared
    from tuner.report.words.escape import visible

    sides = [_side(one, results, store) for one in (a, b)]
    comparison = compared(*sides)
    if as_json:
        click.echo(json.dumps(asdict(comparison), indent=2, ensure_ascii=False))
    else:
        _print(comparison, sides)
    for warning in comparison.warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {visible(warning)}", err=True)
    if plot is not None:
        _draw(sides, plot)


def _side(text: str, results: Path, store: str | None) -> Side:
    from tuner.report.analysis import Analysis
    from tuner.report.compare import side
    from tuner.store.reader import read_study

    match = re.fullmatch(r"(.+):(\d+)", text)
    name, trial = (match[1], int(match[2])) if match else (text, None)
    location = locate(name, results=results, store=store)
    data = read_study(location.paths, study=location.study, url=location.store_url)
    return side(Analysis(data, location.paths), trial=trial)


def _print(comparison: Comparison, sides: list[Side]) -> None:
    from tuner.report.words.escape import visible

    heading = ["", *(visible(s.name) for s in sides), "difference"]
    rows = [[visible(t) for t in (r.quantity, r.a, r.b, r.difference)] for r in comparison.rows]
    if not sys.stdout.isatty():
        sys.stdout.write("".join("\t".join(row) + "\n" for row in [heading, *rows]))
        click.echo(visible(comparison.verdict), err=True)
        return
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, header_style="bold")
    for index, name in enumerate(heading):
        table.add_column(escape(name), justify="left" if index == 0 else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console(highlight=False)
    console.print(table)
    console.print(visible(comparison.verdict), style="bold", markup=False)


def _draw(sides: list[Side], path: Path) -> None:
    from tuner.errors import UsageError
    from tuner.report.figures.comparison import comparison
    from tuner.report.figures.style import to_png, to_svg
    from tuner.report.files import write_output

    match path.suffix:
        case ".png":
            write_output(path, to_png(comparison(*sides)))
        case ".svg":
            write_output(path, to_svg(comparison(*sides), prefix="comparison"))
        case _:
            raise UsageError(f'"{path}": a plot is a .png or .svg file')
