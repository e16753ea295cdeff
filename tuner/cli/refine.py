"""`tuner refine`: the sweep file of the next, finer study."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tuner.cli.locate import locate, location_options
from tuner.errors import TunerError, UsageError

if TYPE_CHECKING:
    from tuner.records import Params
    from tuner.search.zoom import Change
    from tuner.spec.space import Space
    from tuner.store.reader import StudyData


@click.command()
@click.argument("study")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Where to write it; beside the sweep file, with the new study's name, unless given.",
)  # fmt: skip
@click.option("--name", metavar="STUDY", help="Name of the new study; the old one with the next number unless given.")
@click.option("--force", is_flag=True, help="Overwrite the file if it exists.")
@location_options
def refine(study: str, output: Path | None, name: str | None, force: bool, results: Path, store: str | None) -> None:
    """Write the next sweep file for STUDY: a sweep file, a study's name or its folder.

    Each range is zoomed around the best trials, or widened where they crowd its bound; comments are kept, and each
    change has its reason beside it. The new study starts with the best configuration.

    Example: tuner refine sweeps/digits.yaml, then tuner run sweeps/digits-2.yaml
    """
    from tuner.spec.changes import space_from_json
    from tuner.spec.rewrite import DimensionChange, rewrite_sweep
    from tuner.store.reader import read_study

    location = locate(study, results=results, store=store)
    data = read_study(location.paths, study=location.study, url=location.store_url)
    if not data.facts.get("space"):
        raise TunerError(f"{data.name} was not made by tuner, so its search space is not known here")
    space = space_from_json(data.facts["space"])
    winners = _winners(data)
    changes = _changes(space, winners)
    for change in changes:
        click.echo(f"{change.dimension.name}: {_line(change)}", err=True)
    if not changes:
        raise TunerError(f"nothing to refine: the best trials of {data.name} are spread over all of the space")
    new_name = name or _next_name(data.name)
    text = rewrite_sweep(
        _sweep_text(study, location.paths.sweep),
        study=new_name,
        space=space,
        changes=[DimensionChange(dimension=c.dimension, remark=_line(c)) for c in changes],
        start=winners[0],
    )
    target = output or _folder(study, data) / f"{new_name}.yaml"
    if target.exists() and not force:
        raise UsageError(f"{target} exists; give another --output, or --force to overwrite it")
    target.write_text(text, encoding="utf-8")
    click.echo(str(target))


def _winners(data: StudyData) -> list[Params]:
    from tuner.records import TrialState
    from tuner.search.rounds import winners_of

    finished = [record for record in data.records if record.state is TrialState.COMPLETE]
    winners = winners_of(finished, data.direction)
    if len(winners) < 3:
        raise TunerError(f"{data.name} has {len(winners)} finished trials; to refine, at least 3 are needed")
    return winners


def _changes(space: Space, winners: list[Params]) -> tuple[Change, ...]:
    from tuner.diagnose.bounds import winners_on_bounds
    from tuner.search.zoom import zoom

    findings = winners_on_bounds(winners, space=space)
    return zoom(space, winners, beyond={(f.name, f.side): f.suggestion for f in findings})


def _line(change: Change) -> str:
    from tuner.search.zoom import describe

    return f"{change.kind} to {describe(change.dimension)}: {change.reason}"


def _next_name(name: str) -> str:
    found = re.fullmatch(r"(.+)-(\d+)", name)
    return f"{found[1]}-{int(found[2]) + 1}" if found else f"{name}-2"


def _sweep_text(study: str, snapshot: Path) -> str:
    """The file as the user wrote it, or the study's copy of it."""
    given = Path(study)
    source = given if given.is_file() else snapshot
    if not source.is_file():
        raise TunerError(f"{source} is missing; give the sweep file instead of the study's name")
    return source.read_text(encoding="utf-8")


def _folder(study: str, data: StudyData) -> Path:
    """Where the sweep file lies: paths in it start there."""
    given = Path(study)
    if given.is_file():
        return given.parent
    root = data.facts.get("root")
    return Path(root) if isinstance(root, str) and Path(root).is_dir() else Path.cwd()
