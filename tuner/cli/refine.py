"""`tuner refine`: the sweep file of the next, finer study."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli.completion import studies
from tuner.cli.locate import Location, locate, location_options
from tuner.errors import StorageError, StudyMismatchError, SweepFileError, TunerError, UsageError

if TYPE_CHECKING:
    from tuner.records import Params
    from tuner.spec.space import Refinement, Space
    from tuner.store.study_data import StudyData

_LEAST_FINISHED = 6
"""Half of them are winners, of whom three are needed to say where good values lie."""


@click.command()
@click.argument("study", shell_complete=studies)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Where to write it; beside the sweep file, with the new study's name, unless given.",
)  # fmt: skip
@click.option("--name", metavar="STUDY", help="Name of the new study; the old one with the next number unless given.")
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
@location_options
def refine(study: str, output: Path | None, name: str | None, force: bool, results: Path, store: str | None) -> None:
    """Write the next sweep file for STUDY: a sweep file, a study's name or its folder.

    Each range is zoomed around the best trials, or widened where they crowd its bound; comments of the file are
    kept, and each change has its reason beside it. The new study starts with the best configuration.

    Example: tuner refine sweeps/digits.yaml, then tuner run sweeps/digits-2.yaml
    """
    from tuner.report.files import write_output
    from tuner.spec.edit.rewrite import rewrite_sweep
    from tuner.spec.reader import parse_sweep
    from tuner.store.reader import read_study
    from tuner.store.study_data import sweep_of

    location = locate(study, results=results, store=store)
    data = read_study(location.paths, study=location.study, url=location.store_url)
    space = data.space
    if space is None or "sweep" not in data.facts:
        raise TunerError(f"{data.name} was not made by tuner, so its search space is not known here")
    total = sweep_of(data).search.trials
    given, folder = _sweep_file(study, data, space, location)
    winners = [_within(space, params) for params in winners_of_study(data)]
    changes = _changes(data, location, winners)
    if not changes:
        raise TunerError(f"nothing to refine: the best trials of {data.name} are spread over all of the space")
    new_name = name or _next_name(data.name)
    target = output or folder / f"{new_name}.yaml"
    if target.exists() and not force:
        raise UsageError(f"{target} exists; give another --output, or --force to overwrite it")
    folders = (folder.resolve(), target.resolve().parent)
    text = rewrite_sweep(given, study=new_name, space=space, changes=changes, start=winners[0], folders=folders)
    parse_sweep(text, name=str(target), root=folders[1])
    write_output(target, text)
    _say(data, changes, total=total)
    click.echo(str(target))


def winners_of_study(data: StudyData) -> list[Params]:
    """Parameters of the best trials; the final choice comes first, since the new study starts with it."""
    from tuner.records import TrialState
    from tuner.report.certainty.choice import final_choice
    from tuner.search.wrap.rounds import winners_of

    finished = [record for record in data.records if record.state is TrialState.COMPLETE]
    winners = winners_of(finished, data.direction)
    if len(finished) < _LEAST_FINISHED:
        raise TunerError(
            f"{data.name} has {len(finished)} finished trials; to refine, at least {_LEAST_FINISHED} are needed"
        )
    choice = final_choice(data)
    assert choice is not None  # of these winners, or a finalist
    click.echo(f"the new study starts with trial {choice.record.number}, {choice.why}", err=True)
    return [choice.record.params, *(params for params in winners if params != choice.record.params)]


def _within(space: Space, params: Params) -> Params:
    """What lies in the space: in a damaged study a trial may have other parameters, or values."""
    return {name: value for name, value in params.items() if name in space.names and space[name].contains(value)}


def _say(data: StudyData, changes: Sequence[Refinement], *, total: int) -> None:
    ended = sum(record.state.final for record in data.records)
    if ended < total:
        click.echo(f"{data.name} is not finished: {ended} of {total} trials have ended", err=True)
    for change in changes:
        click.echo(f"{change.dimension.name} {change.text}", err=True)


def _changes(data: StudyData, location: Location, winners: list[Params]) -> tuple[Refinement, ...]:
    """By the same judgement as the report's: what was hardly moved stays, bounds move out that it would move, and none
    moves in where the verdict asks for what lies there."""
    from tuner.diagnose.remedies import remedies
    from tuner.report.analysis import Analysis
    from tuner.search.wrap.zoom import tried, zoom
    from tuner.spec.known.networks import MODEL
    from tuner.store.study_data import sweep_of

    analysis = Analysis(data, location.paths)
    beyond = {(f.name, f.side): f.suggestion for f in analysis.bounds}
    # The choice among models stands in a block of its own, and of each there are few winners: it stays.
    moved = tried(analysis.space, (r.params for r in data.records))
    moved -= {MODEL} if sweep_of(data).model.choices else set()
    kept = remedies(analysis.best_parts.verdict if analysis.best_parts else None)
    return zoom(analysis.space, winners, moved=moved, beyond=beyond, kept=kept)


def _next_name(name: str) -> str:
    found = re.fullmatch(r"(.+)-(\d+)", name)
    return f"{found[1]}-{int(found[2]) + 1}" if found else f"{name}-2"


def _sweep_file(study: str, data: StudyData, space: Space, location: Location) -> tuple[str, Path]:
    """The sweep file as the user wrote it, or else its values as the study keeps them; and its folder.

    Raises:
        StudyMismatchError: the user's file is not what the study has searched.
        StorageError: what the study keeps is no sweep.
    """
    from tuner.cli.command_line import study_command
    from tuner.spec.defaults import build_space
    from tuner.spec.edit.moving import stated_sweep
    from tuner.spec.kept.changes import diff_spaces
    from tuner.spec.reader import parse_sweep, read_sweep
    from tuner.spec.text.dump import to_yaml

    path = Path(study)
    if not path.is_file():
        root = data.facts.get("root")
        folder = Path(root) if isinstance(root, str) and Path(root).is_dir() else Path.cwd()
        text = to_yaml(stated_sweep(data.facts["sweep"]))
        try:
            parse_sweep(text, name="sweep", root=folder)
        except SweepFileError as error:
            raise StorageError(
                f'{data.database}: the study\'s fact "sweep" cannot be refined: {error.problems[0]}; '
                f"give its sweep file instead of its name"
            ) from error
        return text, folder
    file = read_sweep(path)
    changes = diff_spaces(space, build_space(file.spec))
    if changes:
        listed = "\n".join(f"  {change.line}" for change in changes)
        raise StudyMismatchError(
            f'{path} is not what study "{data.name}" has searched:\n{listed}\n'
            f"run it first, or refine what was searched: {study_command('refine', location)}"
        )
    return file.text, path.parent
