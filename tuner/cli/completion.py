"""What a shell completes: names of studies, and numbers of trials, without opening a database."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from tuner.paths import StudyPaths

_SWEEP_FILES = (".yaml", ".yml")


def studies(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Studies of the results folder, and sweep files beside where one is."""
    found = [folder.name for folder in _results(context).glob("*/") if StudyPaths(folder).database.exists()]
    folder = Path(incomplete).parent
    files = [str(path) for path in folder.glob("*") if path.suffix in _SWEEP_FILES] if folder.is_dir() else []
    return [CompletionItem(name) for name in sorted([*found, *files]) if name.startswith(incomplete)]


def trials(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Trials of the study that stands before it, or its finalists with `--finalist`."""
    name = context.params.get("study")
    if not isinstance(name, str):
        return []
    inside = Path(name) if StudyPaths(Path(name)).database.exists() else _results(context) / name
    paths = StudyPaths(inside)
    folders = paths.finalists if context.params.get("finalist") else paths.trials
    numbers = sorted(int(path.name) for path in folders.glob("*") if path.name.isdigit())
    return [CompletionItem(str(number)) for number in numbers if str(number).startswith(incomplete)]


def _results(context: click.Context) -> Path:
    return Path(context.params.get("results") or "results")
