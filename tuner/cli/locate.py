"""From what a user types (a sweep file, a study's name, a results folder) to where the study lies."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeVar

import click

from tuner.errors import StudyNotFoundError
from tuner.paths import StudyPaths, is_url

Command = TypeVar("Command", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Location:
    """One study: its name, its folder, and its database if that lies elsewhere."""

    study: str
    paths: StudyPaths
    store_url: str | None = None
    """An Optuna storage URL given with `--store`; None for `study.db` in the folder."""
    results: Path = Path("results")
    """The folder of all studies, as it was given."""
    argument: str = ""
    """What names the study on a command line: its name, or its folder as it was given."""
    is_folder: bool = False


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


def locate(study: str, *, results: Path, store: str | None = None) -> Location:
    """Find an existing study by its sweep file, its name or its folder; nothing is created.

    Raises:
        StudyNotFoundError: there is no such study; the message suggests near names.
    """
    name, folder = _name_and_folder(study, results)
    if store is None and not StudyPaths(folder).database.exists():
        known = [p.parent.name for p in results.glob("*/study.db")]
        near = difflib.get_close_matches(name, known, n=3)
        hint = (
            f" Did you mean {' or '.join(near)}?" if near else f" Known studies: {', '.join(sorted(known)) or 'none'}."
        )
        raise StudyNotFoundError(f'no study "{name}" in {results}/.{hint}')
    is_folder = folder != results / name
    return Location(
        name, StudyPaths(folder.resolve()), store, results=results, argument=study if is_folder else name,
        is_folder=is_folder,
    )  # fmt: skip


def _name_and_folder(study: str, results: Path) -> tuple[str, Path]:
    path = Path(study)
    is_study = StudyPaths(results / study).database.exists()  # which may be called like a file, too
    if path.suffix in (".yaml", ".yml") and (path.exists() or not is_study):
        from tuner.spec.reader import read_study_name

        name = read_study_name(path)
        return name, results / name
    if path.is_dir() and StudyPaths(path).database.exists():
        return path.resolve().name, path
    return study, results / study
