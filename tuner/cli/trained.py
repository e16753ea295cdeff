"""The sweep of a study for the commands that load its data or its network: code is run only if the user names it.

What a database says is data. A study's folder may have been sent by somebody, and so may the file that its database
names; a sweep file that is given to the command is the user's word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from tuner.cli.locate import Location
from tuner.errors import StudyMismatchError, UsageError
from tuner.python.locate import SWEEP_FILES

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
    from tuner.spec.kept.code_versions import changed_files
    from tuner.spec.own_code import code_files, named_code
    from tuner.spec.values import is_own
    from tuner.store.study_data import sweep_of

    spec = sweep_of(data)
    path = Path(study)
    named: Mapping[str, str] = {}
    trackers: Sequence[str] = ()
    if path.suffix in SWEEP_FILES:
        from tuner.spec.reader import read_sweep

        file = read_sweep(path).spec
        trackers = file.track
        named, spec = named_code(file), spec.model_copy(update={"root": file.root})
    tracked = [name for name in spec.track if name in trackers or not is_own(name)]
    spec = spec.model_copy(update={"track": tracked})
    needed = {key: name for key, name in named_code(spec).items() if named.get(key) != name}
    if needed and allow_code:
        click.echo("\n".join(["running the code that the study names:", *_listed(spec)]), err=True)
    elif needed and named:
        lines = "\n".join(f"  {key}: was {name}, is {named.get(key, 'left out')}" for key, name in needed.items())
        raise StudyMismatchError(f'{path} does not name the code that study "{data.name}" was trained by:\n{lines}')
    elif needed:
        from tuner.report.words.shell import shell_command

        listed = "\n".join(_listed(spec))
        raise UsageError(
            f'study "{data.name}" needs code that only its database names, and that is no reason to run it:\n{listed}\n'
            f"name it by your own sweep file: {_again(study, data, location)}\n"
            f"or, if you have looked at these files: {shell_command(*_typed(), '--allow-code')}"
        )
    _require_start(spec, data)
    before = _trained_by(data, record)
    if changed := changed_files(before, code_files(spec)):
        whose = "the study was run last" if record is None else f"{record.name} was trained"
        said = f"your code has changed since {whose} ({', '.join(changed)}): the figure is of the code as it is now"
        click.echo(f"{click.style('warning:', fg='yellow')} {said}", err=True)
    return spec


def _trained_by(data: StudyData, record: TrialRecord | None) -> Mapping[str, str] | None:
    """The files of the user's code that the trial ended with, or that the study was run with last."""
    from tuner.report.code import versions_of

    versions = list(versions_of(data, record).values()) if record is not None else []
    return versions[-1] if versions and versions[-1] else data.facts.get("code_files")


def _require_start(spec: SweepSpec, data: StudyData) -> None:
    """Refuse other weights in the file of `model.init_from`; where it is gone, what needs it says so."""
    if spec.model.init_from is None or not Path(spec.root, spec.model.init_from).is_file():
        return
    from tuner.models.weights_file import weights_sha256

    if data.facts.get("weights") not in (None, weights_sha256(spec)):
        raise StudyMismatchError(
            f"model.init_from: {spec.model.init_from} is not the file that the trials of {data.name} started from; "
            "put it back as it was"
        )


def _listed(spec: SweepSpec) -> list[str]:
    """What the sweep names, and the files that this means, with their hashes."""
    from tuner.spec.own_code import code_files, named_code

    files = [f"  {Path(spec.root, file).resolve()} (SHA-256 {digest})" for file, digest in code_files(spec).items()]
    return [*(f"  {key}: {name}" for key, name in named_code(spec).items()), *files]


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
