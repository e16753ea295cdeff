"""Versions of the user's code: what trials and studies keep of the files that trained them."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.records import Json

CODE_FACT = "code"
"""Of a trial: the versions of the user's code that it was trained by, in order."""
VERSION_PREFIX = "code:"
"""Of a study's fact with the files of one version, before its name."""


def changed_files(before: Json, now: Mapping[str, str]) -> list[str]:
    """The files of the user's code that are not what they were, or are new or gone; none where nothing is known."""
    if not isinstance(before, Mapping):
        return []
    return sorted(file for file in {*before, *now} if before.get(file) != now.get(file))


def version_of(files: Mapping[str, str]) -> str:
    """A short name for these contents of these files; empty for none."""
    if not files:
        return ""
    import hashlib  # which a look at a study's state does not need

    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:8]
