"""`tuner ls`: all studies of a results folder."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from tuner.cli.locate import ResultsFolder
from tuner.errors import TunerError
from tuner.paths import StudyPaths

_HEADINGS = ("study", "state", "trials", "best", "changed", "note")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print them as JSON.")
@click.option(
    "--results", type=ResultsFolder(), default=Path("results"), show_default=True, help="Folder of all studies."
)
def ls(as_json: bool, results: Path) -> None:
    """List all studies of the results folder, the one that changed last first: state, trials, best, age, notes.

    Example: tuner ls
    """
    found = sorted((_study(folder) for folder in _folders(results)), key=lambda one: -one["changed"])
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not found:
        click.echo(f"there are no studies in {results}/", err=True)
    else:
        _print([_cells(one) for one in found])


def _folders(results: Path) -> Iterator[Path]:
    """Those that hold a study: its database, or its log where that lies elsewhere."""
    for folder in sorted(results.glob("*/")):
        paths = StudyPaths(folder.resolve())
        if paths.database.exists() or paths.log.exists():
            yield folder


def _study(folder: Path) -> dict[str, Any]:
    from tuner.report.certainty.choice import choice_so_far
    from tuner.store.notes import notes_in_words
    from tuner.store.reader import read_study
    from tuner.store.standing import state_of, total_trials

    paths = StudyPaths(folder.resolve())
    files = [file for file in (*paths.database_files, paths.log) if file.exists()]
    known: dict[str, Any] = {
        "study": folder.name, "state": "", "reason": "", "trials": None, "total": None, "best": None, "metric": "",
        "changed": max(file.stat().st_mtime for file in files), "note": "",
    }  # fmt: skip
    if not paths.database.exists():
        return known | {"state": "elsewhere", "reason": "its database is given with --store"}
    try:
        data = read_study(paths, study=folder.name, with_rungs=False)
    except TunerError as error:
        return known | {"state": "unreadable", "reason": str(error).splitlines()[0]}
    state, reason = state_of(data)
    best = choice_so_far(data)
    return known | {
        "state": state, "reason": reason, "trials": len(data.records), "total": total_trials(data.facts),
        "best": None if best is None else {"trial": best.record.number, "value": best.record.value},
        "metric": data.metric, "note": notes_in_words(data.notes).get(None, ""),
    }  # fmt: skip


def _cells(one: Mapping[str, Any]) -> list[str]:
    from tuner.report.words.escape import visible
    from tuner.report.words.numbers import duration_text, metric_text

    best = one["best"]
    value = "" if best is None else f"{metric_text(best['value'], metric=one['metric'])} {one['metric']}"
    total = f" of {one['total']}" if one["total"] else ""
    trials = "" if one["trials"] is None else f"{one['trials']}{total}"
    state = f"{one['state']}: {one['reason']}" if one["state"] in ("elsewhere", "unreadable") else one["state"]
    age = f"{duration_text(max(0.0, time.time() - one['changed']))} ago"
    return [visible(cell) for cell in (one["study"], state, trials, value, age, one["note"])]


def _print(rows: Sequence[Sequence[str]]) -> None:
    """Aligned on a terminal; elsewhere with tabs between the cells."""
    import sys

    if not sys.stdout.isatty():
        for row in (_HEADINGS, *rows):
            click.echo("\t".join(row))
        return
    widths = [max(len(row[i]) for row in (_HEADINGS, *rows)) for i in range(len(_HEADINGS))]
    for n, row in enumerate((_HEADINGS, *rows)):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        click.echo(click.style(line, bold=n == 0))
