"""Which versions of the user's code the trials of a study were trained by."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.records import TrialRecord
from tuner.report.words.numbers import number_of
from tuner.spec.kept.code_versions import CODE_FACT, VERSION_PREFIX
from tuner.store.study_data import StudyData

_SHOWN = 5


def versions_of(study: StudyData, record: TrialRecord) -> dict[str, Mapping[str, str]]:
    """The files of each version of the user's code that a trial was trained by, with their SHA-256, in order."""
    versions = record.facts.get(CODE_FACT) or ()
    return {version: study.facts.get(f"{VERSION_PREFIX}{version}") or {} for version in versions}


def mixed_code(study: StudyData) -> str:
    """What to say where trials were trained by code that differs; empty where they were not.

    A file that only one version has (a module that is imported now and then) is no difference.
    """
    trials: dict[tuple[str, ...], list[int]] = {}
    contents: dict[str, set[str]] = {}
    for record in study.records:
        versions = versions_of(study, record)
        if versions:
            trials.setdefault(tuple(versions), []).append(record.number)
        for files in versions.values():
            for file, digest in files.items():
                contents.setdefault(file, set()).add(digest)
    changed = sorted(file for file, digests in contents.items() if len(digests) > 1)
    if not changed:
        return ""
    said = ", ".join(changed[:_SHOWN]) + (f" and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else "")
    groups = "; ".join(
        f"{number_of(len(numbers), 'trial')} ({_span(numbers)}) by {' and then '.join(versions)}"
        for versions, numbers in list(trials.items())[:_SHOWN]
    )
    more = f"; and by {len(trials) - _SHOWN} more" if len(trials) > _SHOWN else ""
    return f"Your code changed between trials ({said}), which may not be comparable: {groups}{more}."


def _span(numbers: list[int]) -> str:
    return str(numbers[0]) if len(numbers) == 1 else f"from {numbers[0]} to {numbers[-1]}"
