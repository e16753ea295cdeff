"""From what a user names (a sweep file, a study's name, a results folder) to where the study lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tuner.errors import StudyNotFoundError
from tuner.paths import StudyPaths

SWEEP_FILES = (".yaml", ".yml")
"""How the names of sweep files end."""


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


def locate(study: str, *, results: Path, store: str | None = None) -> Location:
    """Find an existing study by its sweep file, its name or its folder; nothing is created.

    Raises:
        StudyNotFoundError: there is no such study; the message suggests near names.
    """
    found = place_of(study, results=results, store=store)
    if store is None and not found.paths.database.exists():
        known = [p.parent.name for p in results.glob("*/study.db")]
        import difflib

        near = difflib.get_close_matches(found.study, known, n=3)
        hint = (
            f" Did you mean {' or '.join(near)}?" if near else f" Known studies: {', '.join(sorted(known)) or 'none'}."
        )
        raise StudyNotFoundError(f'no study "{found.study}" in {results}/.{hint}')
    return found


def place_of(study: str, *, results: Path, store: str | None = None) -> Location:
    """Where a study lies, or will once it has begun, by its sweep file, its name or its folder."""
    name, folder = _name_and_folder(study, results)
    is_folder = folder != results / name
    return Location(
        name, StudyPaths(folder.resolve()), store, results=results, argument=study if is_folder else name,
        is_folder=is_folder,
    )  # fmt: skip


def _name_and_folder(study: str, results: Path) -> tuple[str, Path]:
    path = Path(study)
    is_study = StudyPaths(results / study).database.exists()  # which may be called like a file, too
    if path.suffix in SWEEP_FILES and (path.exists() or not is_study):
        from tuner.spec.reader import read_study_name

        name = read_study_name(path)
        return name, results / name
    if path.is_dir() and StudyPaths(path).database.exists():
        return path.resolve().name, path
    return study, results / study
