"""`tuner init`: write a sweep file to start from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.errors import UsageError

if TYPE_CHECKING:
    from tuner.spec.edit.starter import TableFound


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default=Path("sweep.yaml"))
@click.option("--data", "source", default="sklearn/digits", show_default=True, help="Where the data come from.")
@click.option("--target", metavar="COLUMN", help="The column to predict, of a table; the likeliest unless given.")
@click.option("--model", default="mlp", show_default=True, help="mlp, cnn, or your factory: package.module:factory.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(file: Path, source: str, target: str | None, model: str, force: bool) -> None:
    """Write a commented sweep file to start from.

    FILE is sweep.yaml if left out; the study takes its name. A CSV or Parquet file is looked at: the sweep file names
    what can be predicted, leaves out what is no input, and has a metric that suits.

    Example: tuner init customers.yaml --data customers.csv
    """
    from tuner.data.first_look import look_at
    from tuner.report.files import write_output
    from tuner.report.words.shell import shell_command
    from tuner.spec.edit.starter import starter_text
    from tuner.spec.reader import parse_sweep

    if file.exists() and not force:
        raise UsageError(f"{file} exists; give another name, or --force to overwrite it")
    if not (file.parent / source).exists() and Path(source).is_file():
        source = os.path.relpath(source, file.parent)  # a sweep file's paths start at its folder
    found = look_at(source, root=file.parent, target=target)
    if found is None and target is not None:
        raise UsageError(f"--target names a column of a CSV or Parquet file, and {source} is none that is there")
    study = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._") or "sweep"
    text = starter_text(file=str(file), study=study[:100], source=source, model=model, found=found)
    parse_sweep(text, name="tuner init", root=file.parent)
    write_output(file, text)
    if found is not None:
        _say(found, source)
    click.echo(f"wrote {file}; look it over, then: {shell_command('run', file)}", err=True)


def _say(found: TableFound, source: str) -> None:
    """What the file is about, and what to look over."""
    from tuner.report.words.escape import visible

    rows = f"{source}: {'the first ' if found.is_part else ''}{found.rows:,} rows"
    lines = [f"{rows}; predicted is {found.target.name} ({found.target.said}), by {found.metric}: {found.why_metric}"]
    if found.others:
        lines.append(f"could be predicted, too: {', '.join(column.name for column in found.others)}")
    lines += [f"left out: {column.name} {column.said}" for column in found.ignored]
    lines += [f"expanded to numbers: the dates of {', '.join(found.dates)}"] if found.dates else []
    for line in lines:
        click.echo(visible(line), err=True)
