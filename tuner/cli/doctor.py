"""`tuner doctor`: is this machine, and is this study, in order?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from tuner.cli.completion import studies
from tuner.cli.locate import Location, locate, location_options
from tuner.errors import StorageError, TunerError, UsageError, UserCodeError
from tuner.paths import prepared_data
from tuner.records import TrialState

_LOW_DISK_BYTES = 1_000_000_000
_PACKAGES = ("tuner", "torch", "optuna", "numpy", "pandas", "scikit-learn", "SQLAlchemy", "pydantic")
_EXTRAS = ("psycopg", "optuna-dashboard", "pyarrow", "cmaes")


@click.command()
@click.argument("study", required=False, shell_complete=studies)
@click.option(
    "--backup", type=click.Path(path_type=Path), metavar="FILE", help="Copy the study's database, also during a run."
)
@click.option(
    "--repair",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write all that can be read of a damaged database into a new file.",
)
@click.option(
    "--convert",
    type=(click.Path(path_type=Path), click.Path(path_type=Path)),
    metavar="JOURNAL FILE",
    help="Write all studies of an Optuna journal file into a new SQLite file.",
)
@click.option("--clear-data", is_flag=True, help="Remove the prepared copies of data that no run uses.")
@location_options
def doctor(
    study: str | None,
    backup: Path | None,
    repair: Path | None,
    convert: tuple[Path, Path] | None,
    clear_data: bool,
    results: Path,
    store: str | None,
) -> int:
    """Check this machine: versions, devices, free disk; and STUDY, if given: its database, its interrupted trials.

    Plug-ins of other packages are imported, each in turn.

    Exit code 5 if the database is damaged, 6 if a plug-in is broken. Nothing is changed: --backup, --repair and
    --convert write new files, and --clear-data removes what the next run that needs it makes anew.

    Example: tuner doctor digits --repair results/digits/mended.db
    """
    if convert is not None:
        if study or backup or repair or store:
            raise UsageError("--convert takes all studies of a file: tuner doctor --convert JOURNAL FILE")
        return _convert(*convert)
    if clear_data:
        return _clear_data(results)
    if study is None:
        if backup or repair:
            raise UsageError("name the study whose database is meant: tuner doctor STUDY --backup FILE")
        _print(_machine(results))
        return _check_plugins()
    location = locate(study, results=results, store=store)
    if backup is not None:
        return _back_up(location, backup)
    if repair is not None:
        return _repair(location, repair)
    _print(_machine(results))
    broken = _check_plugins()
    return _check(location) or broken


def _print(facts: Iterator[tuple[str, str]]) -> None:
    from tuner.report.words.escape import visible

    for name, text in facts:
        click.echo(f"{click.style(f'{name:<16}', bold=True)} {visible(text)}")


def _machine(results: Path) -> Iterator[tuple[str, str]]:
    import platform
    import sqlite3
    from importlib.metadata import PackageNotFoundError, version

    yield "python", f"{platform.python_version()} on {platform.platform()}"
    for package in (*_PACKAGES, *_EXTRAS):
        try:
            yield package, version(package)
        except PackageNotFoundError:
            yield package, "not installed (optional)" if package in _EXTRAS else "not installed"
    yield "SQLite", sqlite3.sqlite_version
    yield "devices", ", ".join(_devices())
    yield "compiled steps", _compiled_steps()
    folder = next(path for path in (results.absolute(), *results.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    yield "free disk", f"{free / 1e9:.1f} GB at {folder}{' (low)' if free < _LOW_DISK_BYTES else ''}"
    yield from _prepared_data(results)


def _check_plugins() -> int:
    """Print what other packages add, and what of it cannot be imported; returns the exit code."""
    from typing import get_args

    from tuner.imports import load_plugin
    from tuner.plugins import Kind, plugins

    code = 0
    for kind in get_args(Kind):
        for plugin in plugins(kind).values():
            try:
                load_plugin(plugin)
                text = f"{plugin.name}: {plugin.place}, of {plugin.package}"
            except UserCodeError as error:
                code, text = error.exit_code, f"PROBLEM: {error}"
            _print(iter([(kind, text)]))
    return code


def _prepared_data(results: Path) -> Iterator[tuple[str, str]]:
    from tuner.data.kept import kept_folders

    for kept in kept_folders(prepared_data(results)):
        use = "a run uses it" if kept.in_use else "tuner doctor --clear-data removes it"
        yield "prepared data", f"{kept.num_bytes / 1e6:,.0f} MB of {kept.made_of or 'a broken-off run'} ({use})"


def _devices() -> list[str]:
    import os

    import torch

    names = [f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} CPU cores"]
    names += [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(torch.cuda.device_count())]
    return [*names, "mps"] if torch.backends.mps.is_available() else names


def _compiled_steps() -> str:
    from tuner.train.replay.native.library import unavailable_reason

    reason = unavailable_reason()
    return "on" if reason is None else f"off: {reason}; PyTorch runs all steps, with the same results"


def _check(location: Location) -> int:
    """Print how the study's database is; returns the exit code."""
    from tuner.report.words.numbers import number_of
    from tuner.store.locations import find_database
    from tuner.store.reader import read_study
    from tuner.store.sqlite_file import check_study_file

    database = find_database(location.paths, url=location.store_url)
    try:
        if database.kind == "sqlite" and database.path.exists():
            check_study_file(database.path, thorough=True)
        data = read_study(location.paths, study=location.study, url=location.store_url)
    except StorageError as error:
        _print(iter([("database", f"PROBLEM: {error}")]))
        return error.exit_code
    open_trials = [str(r.number) for r in data.records if r.state in (TrialState.RUNNING, TrialState.PAUSED)]
    pending = sorted(location.paths.pending.glob("*.json"))
    counts = f"{number_of(len(data.records), 'trial')}, {number_of(len(data.finalists), 'finalist')}"
    facts = [("database", f"sound: {counts} in {database}")]
    if data.lease is not None and data.lease.alive:
        facts.append(("run by", str(data.lease)))
    elif open_trials:
        facts.append(("interrupted", f"trials {', '.join(open_trials)}; the next `tuner run` continues them"))
    if pending:
        facts.append(("pending", f"{len(pending)} files in {location.paths.pending}; the next `tuner run` stores them"))
    _print(iter(facts))
    return 0


def _clear_data(results: Path) -> int:
    from tuner.data.kept import kept_folders, remove_unused

    within = prepared_data(results.resolve())
    removed = remove_unused(within) if within.is_dir() else []
    left = len(kept_folders(within))
    click.echo(f"removed {sum(kept.num_bytes for kept in removed) / 1e6:,.0f} MB of prepared data")
    if left:
        click.echo(
            f"{left} {'copy is' if left == 1 else 'copies are'} in use and {'stays' if left == 1 else 'stay'}", err=True
        )
    return 0


def _back_up(location: Location, target: Path) -> int:
    from tuner.store.salvage import back_up

    back_up(_file(location), target)
    click.echo(str(target))
    return 0


def _repair(location: Location, target: Path) -> int:
    from tuner.cli.command_line import study_command
    from tuner.report.words.escape import visible
    from tuner.store.salvage import salvage

    saved = salvage(_file(location), target)
    click.echo(str(target))
    lost = [f"trial {number}" for number in saved.lost]
    lost += [f"{saved.num_unnamed} trials whose numbers cannot be read"] if saved.num_unnamed else []
    for line in saved.left_out:
        click.echo(f"left out: {visible(line)}", err=True)
    click.echo(f"saved {saved.num_trials} trials; lost: {', '.join(lost) or 'none'}", err=True)
    command = study_command("status", replace(location, store_url=str(target)))
    click.echo(f"look at it with: {command}", err=True)
    if not saved.num_trials:
        raise TunerError("no trial could be read whole")
    return 0


def _convert(journal: Path, target: Path) -> int:
    from tuner.report.words.escape import visible
    from tuner.report.words.shell import shell_command
    from tuner.store.convert import convert_journal

    studies = convert_journal(journal, target)
    click.echo(str(target))
    click.echo(f"converted {', '.join(map(visible, studies))}", err=True)
    click.echo(f"look at it with: {shell_command('status', studies[0], store=str(target))}", err=True)
    return 0


def _file(location: Location) -> Path:
    from tuner.store.locations import find_database

    database = find_database(location.paths, url=location.store_url)
    if database.kind != "sqlite":
        raise UsageError(f"{database} is no SQLite file; back it up with the tools of its server")
    return database.path
