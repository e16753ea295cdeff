"""`tuner init`: write a sweep file to start from."""

from __future__ import annotations

import re
from pathlib import Path

import click

from tuner.errors import UsageError


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), default=Path("sweep.yaml"))
@click.option("--data", "source", default="sklearn/digits", show_default=True, help="Where the data come from.")
@click.option("--model", default="mlp", show_default=True, help="mlp, cnn, or your factory: package.module:factory.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(file: Path, source: str, model: str, force: bool) -> None:
    """Write a commented sweep file to start from.

    FILE is sweep.yaml if left out; the study takes its name. Example: tuner init digits.yaml --data sklearn/digits
    """
    from tuner.report.files import write_output
    from tuner.report.words.shell import shell_command
    from tuner.spec.edit.starter import starter_text
    from tuner.spec.reader import parse_sweep

    if file.exists() and not force:
        raise UsageError(f"{file} exists; give another name, or --force to overwrite it")
    study = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("-._") or "sweep"
    text = starter_text(file=str(file), study=study[:100], source=source, model=model)
    parse_sweep(text, name="tuner init", root=file.parent)
    write_output(file, text)
    click.echo(f"wrote {file}; look it over, then: {shell_command('run', file)}", err=True)
