"""`tuner init`: write a sweep file to start from."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from tuner.errors import UsageError

if TYPE_CHECKING:
    from tuner.spec.edit.starter import TableFound


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default=Path("sweep.yaml"))
@click.option("--data", "source", default="sklearn/digits", show_default=True, help="Where the data come from.")
@click.option("--target", metavar="COLUMN", help="The column to predict, of a table; the likeliest unless given.")
@click.option(
    "--model",
    default=None,
    help="tabular, mlp, cnn, or your factory: package.module:factory; tabular for a table that is there, else mlp.",
)
@click.option("--command", metavar="COMMAND", help="A training script of yours: its options become the space.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.pass_context
def init(
    context: click.Context,
    file: Path,
    source: str,
    target: str | None,
    model: str | None,
    command: str | None,
    force: bool,
) -> None:
    """Write a commented sweep file to start from.

    FILE is sweep.yaml if left out; the study takes its name. A CSV or Parquet file is looked at: the sweep file names
    what can be predicted, leaves out what is no input, and has a metric that suits. With --command a Python script is
    asked for its options (it is not run): those that are numbers or choices become hyperparameters.

    Example: tuner init customers.yaml --data customers.csv

    Example: tuner init --command "python train.py"
    """
    from tuner.data.first_look import look_at
    from tuner.report.files import write_output
    from tuner.report.words.shell import shell_command
    from tuner.spec.edit.starter import starter_text
    from tuner.spec.reader import parse_sweep

    if file.exists() and not force:
        raise UsageError(f"{file} exists; give another name, or --force to overwrite it")
    study = (re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._") or "sweep")[:100]
    if command is not None:
        for name in ("source", "target", "model"):
            if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
                option = "data" if name == "source" else name
                raise UsageError(f"--{option} has no effect with --command, whose script reads its own data")
        text = _of_command(command, file, study)
        parse_sweep(text, name="tuner init", root=file.parent)
        write_output(file, text)
        click.echo(f"wrote {file}; look its ranges over, then: {shell_command('check', file)}", err=True)
        return
    if not (file.parent / source).exists() and Path(source).is_file():
        source = os.path.relpath(source, file.parent)  # a sweep file's paths start at its folder
    found = look_at(source, root=file.parent, target=target)
    if found is None and target is not None:
        raise UsageError(f"--target names a column of a CSV or Parquet file, and {source} is none that is there")
    model = model or ("mlp" if found is None else "tabular")
    text = starter_text(file=str(file), study=study, source=source, model=model, found=found)
    parse_sweep(text, name="tuner init", root=file.parent)
    write_output(file, text)
    if found is not None:
        _say(found, source)
    click.echo(f"wrote {file}; look it over, then: {shell_command('run', file)}", err=True)


def _of_command(command: str, file: Path, study: str) -> str:
    """The sweep file of a script's options.

    Raises:
        UserCodeError: they cannot be read, or none can be searched.
    """
    from tuner.errors import UserCodeError
    from tuner.spec.edit.command_starter import command_starter
    from tuner.train.own.options import options_of

    options = options_of(command, folder=file.parent)
    text = command_starter(command, options, file=str(file), study=study)
    if text is None:
        flags = ", ".join(option.flag for option in options) or "none"
        raise UserCodeError(f"no option of {command} can be searched: numbers with a default, or choices ({flags})")
    return text


def _say(found: TableFound, source: str) -> None:
    """What the file is about, and what to look over."""
    from tuner.report.words.escape import visible
    from tuner.spec.edit.starter import MOST_CANDIDATES

    rows = f"{source}: {'the first ' if found.is_part else ''}{found.rows:,} rows"
    lines = [f"{rows}; predicted is {found.target.name} ({found.target.said}), by {found.metric}: {found.why_metric}"]
    if found.others:
        named, more = found.others[:MOST_CANDIDATES], len(found.others) - MOST_CANDIDATES
        further = f", and {more} more" if more > 0 else ""
        lines.append(f"could be predicted, too: {', '.join(column.name for column in named)}{further}")
    lines += [f"left out: {column.name} {column.said}" for column in found.ignored]
    lines += [f"expanded to numbers: the dates of {', '.join(found.dates)}"] if found.dates else []
    for line in lines:
        click.echo(visible(line), err=True)
