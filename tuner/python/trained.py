"""The sweep that a study was trained by, for what loads its data or its network: code is run only if the user names it.

What a database says is data. A study's folder may have been sent by somebody, and so may the file that its database
names; a sweep that the user gives is the user's word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import StudyMismatchError, UsageError

if TYPE_CHECKING:
    from tuner.records import TrialRecord
    from tuner.spec.model import SweepSpec
    from tuner.store.study_data import StudyData


@dataclass(frozen=True, slots=True)
class Trained:
    """The sweep, and what whoever asks for it should be told."""

    spec: SweepSpec
    taken_over: Sequence[str]
    """Lines: the code that only the database names, and its files, since that was allowed."""
    warning: str
    """Empty, or that the code has changed since."""


def trained_sweep(
    data: StudyData,
    given: SweepSpec | None,
    *,
    called: str,
    allow_code: bool,
    remedy: Callable[[], str],
    record: TrialRecord | None = None,
) -> Trained:
    """The sweep that a study was trained by, if the user names the code in it.

    Args:
        data: The study.
        given: The sweep of the user's, which names the code, and the folder that paths start at; None if there is none.
        called: What that is called.
        allow_code: Take the database's word.
        remedy: Says how to name the code, or to allow it.
        record: The trial whose network is wanted; a warning says where the code is not the one that trained it.

    Raises:
        UsageError: tuner did not make the study, or it needs code that only its database names.
        StudyMismatchError: the user's sweep names other code, or the weights to start from are others.
        StorageError: what the study keeps is damaged, or of another version of tuner.
    """
    from tuner.spec.kept.code_versions import changed_files
    from tuner.spec.own_code import code_files, named_code
    from tuner.spec.values import is_own
    from tuner.store.study_data import sweep_of

    spec = sweep_of(data)
    named: Mapping[str, str] = {}
    trackers: Sequence[str] = ()
    if given is not None:
        trackers, named = given.track, named_code(given)
        spec = spec.model_copy(update={"root": given.root})
    tracked = [name for name in spec.track if name in trackers or not is_own(name)]
    spec = spec.model_copy(update={"track": tracked})
    needed = {key: name for key, name in named_code(spec).items() if named.get(key) != name}
    if needed and not allow_code:
        if named:
            lines = [f"  {key}: was {name}, is {named.get(key, 'left out')}" for key, name in needed.items()]
            said = f'{called} does not name the code that study "{data.name}" was trained by:'
            raise StudyMismatchError("\n".join([said, *lines]))
        listed = "\n".join(_listed(spec))
        raise UsageError(
            f'study "{data.name}" needs code that only its database names, and that is no reason to run it:\n{listed}\n'
            f"{remedy()}"
        )
    _require_start(spec, data)
    warning = ""
    if changed := changed_files(_trained_by(data, record), code_files(spec)):
        whose = "the study was run last" if record is None else f"{record.name} was trained"
        warning = f"your code has changed since {whose} ({', '.join(changed)}): the figure is of the code as it is now"
    return Trained(spec, _listed(spec) if needed else (), warning)


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
