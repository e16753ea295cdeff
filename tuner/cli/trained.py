"""The sweep of a study for the commands that load its data or its network: code is run only if the user names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from tuner.cli.locate import Location
from tuner.python.locate import SWEEP_FILES
from tuner.python.trained import trained_sweep as named_or_refused

if TYPE_CHECKING:
    from tuner.records import TrialRecord
    from tuner.spec.model import SweepSpec
    from tuner.store.study_data import StudyData

Command = TypeVar("Command", bound=Callable[..., object])


def allow_code_option(command: Command) -> Command:
    """Add `--allow-code`."""
    return click.option(
        "--allow-code", is_flag=True,
        help="Run the code that the study's database names, without a sweep file of yours; its files are printed.",
    )(command)  # fmt: skip


def trained_sweep(
    study: str, data: StudyData, location: Location, *, allow_code: bool, record: TrialRecord | None = None
) -> SweepSpec:
    """The sweep that a study was trained by, if the user names the code in it.

    Args:
        study: As the user typed it; a sweep file names the code, and the folder that paths start at.
        data: The study.
        location: Where it lies.
        allow_code: Take the database's word; which files that means is printed.
        record: The trial whose network is wanted; a warning says where the code is not the one that trained it.

    Raises:
        UsageError: tuner did not make the study, or it needs code that only its database names.
        StudyMismatchError: the sweep file names other code, or the weights to start from are others.
        StorageError: what the study keeps is damaged, or of another version of tuner.
    """
    path = Path(study)
    given = None
    if path.suffix in SWEEP_FILES:
        from tuner.spec.reader import read_sweep

        given = read_sweep(path).spec

    def remedy() -> str:
        from tuner.report.words.shell import shell_command

        allowed = shell_command(*_typed(), "--allow-code")
        return (
            f"name it by your own sweep file: {_again(study, data, location)}\n"
            f"or, if you have looked at these files: {allowed}"
        )

    found = named_or_refused(data, given, called=study, allow_code=allow_code, remedy=remedy, record=record)
    if found.taken_over:
        click.echo("\n".join(["running the code that the study names:", *found.taken_over]), err=True)
    if found.warning:
        click.echo(f"{click.style('warning:', fg='yellow')} {found.warning}", err=True)
    return found.spec


def _typed() -> list[str]:
    """The arguments of this command."""
    arguments = click.get_current_context().obj
    return list(arguments) if isinstance(arguments, tuple) else [str(click.get_current_context().info_name)]


def _again(study: str, data: StudyData, location: Location) -> str:
    """This command with the sweep file in the place of the study."""
    from tuner.report.words.shell import shell_command

    sweep = _sweep_file(data, location) or "SWEEP.yaml"
    arguments = [sweep if argument == study else argument for argument in _typed()]
    if location.is_folder and location.paths.folder.parent != Path("results").resolve():
        arguments += ["--results", str(Path(study).parent)]
    return shell_command(*arguments)


def _sweep_file(data: StudyData, location: Location) -> str | None:
    """The file that the study was run by, if it is there, is still of this study, and is not in the study's folder."""
    from tuner.errors import SweepFileError
    from tuner.spec.reader import read_study_name

    command = data.facts.get("command")
    for word in command.split() if isinstance(command, str) else ():
        path = Path(word.strip("'\""))
        if path.suffix in SWEEP_FILES and path.is_file():
            try:
                is_it = read_study_name(path) == data.name
            except SweepFileError:
                continue
            if is_it and not path.resolve().is_relative_to(location.paths.folder):
                return str(path)
    return None
