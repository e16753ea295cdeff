"""A study of which nothing is left to do: its last run has noted what it stands on, and is not repeated to find out.

What a run does not look at here, a run of a study that has trials left does: data that a function of the user's makes
are taken to be the same where the function's code is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tuner.data.file_hashes import stamp_of
from tuner.errors import StorageError, StudyNotFoundError
from tuner.paths import StudyPaths
from tuner.records import Json
from tuner.report.files import write_atomically
from tuner.report.terminal import Conclusion
from tuner.spec.model import SweepSpec
from tuner.spec.own_code import code_files
from tuner.store.reader import read_study
from tuner.store.sqlite_file import check_study_file
from tuner.store.standing import Standing, state_of
from tuner.store.study_data import StudyData
from tuner.sweep.origin import versions

_READ_BYTES = 1 << 23
"""A larger file is taken to be the same if its size and times are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Basis:
    """What the results of a study stand on, as it is at one moment."""

    sweep: str
    """Hash of the sweep file's values, of the user's code and of the libraries' versions."""
    files: Mapping[str, str]
    """What tells whether a file or folder of data, or of weights to start from, is the same; by path."""

    @classmethod
    def of(cls, spec: SweepSpec) -> Self:
        """What a sweep stands on now."""
        return cls(sweep=_hash_of_sweep(spec), files={str(path): _mark(path) for path in _files_read(spec)})

    def still_holds(self, spec: SweepSpec) -> bool:
        """Whether all is as it was, and the sweep the same."""
        return self.sweep == _hash_of_sweep(spec) and all(_mark(Path(p)) == mark for p, mark in self.files.items())


def keep_conclusion(conclusion: Conclusion, basis: Basis, study: StudyData, paths: StudyPaths) -> None:
    """Note what was said of a finished study, to say it again as long as nothing has changed."""
    document = {
        "sweep": basis.sweep,
        "files": dict(basis.files),
        "study": _hash_of_study(study),
        "reports": _sizes_of_reports(paths),
        "conclusion": conclusion.to_json(),
    }
    write_atomically(paths.conclusion, json.dumps(document), sync=False)


def nothing_left(spec: SweepSpec, paths: StudyPaths, *, url: str | None) -> tuple[StudyData, Conclusion | None] | None:
    """A finished study of this sweep, and what was said of it; None if something is left, or not known to be done.

    The second is None if the reports are not there, or not of the study as it is now.
    """
    kept = _kept(paths.conclusion)
    try:
        if kept is None or not Basis(sweep=kept["sweep"], files=kept["files"]).still_holds(spec):
            return None
        if url is None:
            check_study_file(paths.database, thorough=True)  # as a run that goes on does: the damage is found early
        study = read_study(paths, study=spec.study, url=url, with_rungs=False)
        if not _is_done(study, spec) or any(paths.pending.glob("*.json")):
            return None
        if kept["study"] != _hash_of_study(study) or kept["reports"] != _sizes_of_reports(paths):
            return study, None
        return study, Conclusion.from_json(kept["conclusion"])
    except (StudyNotFoundError, StorageError, OSError, LookupError, TypeError, AttributeError):
        return None  # whatever is wrong, a run that does everything says it


def _is_done(study: StudyData, spec: SweepSpec) -> bool:
    standing = Standing.of(study.facts)
    is_finished = standing is not None and standing.stage == "done" and state_of(study)[0] == "finished"
    return is_finished and study.facts.get("sweep") == spec.model_dump(mode="json")


def _kept(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _hash_of_sweep(spec: SweepSpec) -> str:
    return _hash(spec.model_dump(mode="json"), spec.root, versions(), code_files(spec))


def _hash_of_study(study: StudyData) -> str:
    trials = (study.records, study.finalists, study.on_parts)
    return _hash(study.name, study.identity, trials, study.facts, study.notes)


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _files_read(spec: SweepSpec) -> Iterator[Path]:
    if spec.model.init_from is not None:
        yield Path(spec.root, spec.model.init_from).absolute()
    if spec.loop is not None:
        return  # code of the user's reads what it likes
    from tuner.data.sources import files_of

    named = [Path(spec.root, at).absolute() for at in (spec.data.source, spec.data.dev, spec.data.test) if at]
    there = [path for path in named if path.exists()]
    yield from there
    for _, file in files_of(spec.data, root=Path(spec.root)) or ():
        if not any(file.is_relative_to(path) for path in there):  # the labels beside images, for one
            yield file


def _mark(path: Path) -> str:
    """What differs when a file's contents do; of a folder, all files below it."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return _hash([(str(file.relative_to(path)), stamp_of(file)) for file in files])
    try:
        if path.stat().st_size > _READ_BYTES:
            return _hash(stamp_of(path))
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _sizes_of_reports(paths: StudyPaths) -> Json:
    """Of all files that reports consist of."""
    tables = (paths.leaderboard_csv, paths.leaderboard_json, paths.leaderboard_md, paths.report_html)
    inside = (file for folder in (paths.plots, paths.best, paths.mistakes) for file in sorted(folder.rglob("*")))
    files = (file for file in (*tables, *inside) if file.is_file())
    return {str(file.relative_to(paths.folder)): file.stat().st_size for file in files}
