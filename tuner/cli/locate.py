"""The options that say where studies lie; from there to a study goes `tuner/python/locate.py`."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TypeVar

import click

from tuner.paths import is_url
from tuner.python.locate import Location, locate

__all__ = ["Location", "ResultsFolder", "locate", "location_options"]

Command = TypeVar("Command", bound=Callable[..., object])


class ResultsFolder(click.Path):
    """Where all studies lie: a folder of this machine."""

    def __init__(self) -> None:
        super().__init__(file_okay=False, path_type=Path)

    def convert(
        self, value: str | PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> str | bytes | PathLike[str]:
        if is_url(str(value)):
            self.fail(
                f"{value} is a URL; give a folder of this machine (a mounted bucket is one), and copy it when the run "
                "is done. A database of studies may lie on a server: --store URL",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


def location_options(command: Command) -> Command:
    """Add `--results` and `--store`, which say where studies lie."""
    command = click.option(
        "--store", metavar="URL", default=None, help="Optuna storage URL instead of results/<study>/study.db."
    )(command)
    return click.option(
        "--results",
        type=ResultsFolder(),
        default=Path("results"),
        show_default=True,
        help="Folder of all studies.",
    )(command)


def training_options(command: Command) -> Command:
    """Add `--workers` and `--devices`, which say where trials are trained."""
    command = click.option(
        "--devices", help="Where to train: cpu, cuda, cuda:0,cuda:1, mps; the best there is by default."
    )(command)
    return click.option(
        "--workers", type=click.IntRange(1), help="Worker processes; one per core or accelerator by default."
    )(command)
