"""Commands of ours as they are said to a user: quoted for a shell, with no password in them."""

from __future__ import annotations

import shlex
from pathlib import Path

from tuner.store.locations import hide_password

_DEFAULT_RESULTS = Path("results")
"""Where studies lie unless `--results` says otherwise."""


def shell_command(*words: str | Path, results: Path = _DEFAULT_RESULTS, store: str | None = None) -> str:
    """A command of `tuner`, which finds the study where it lies; `***` stands for a password.

    Args:
        words: The command's name, and its arguments.
        results: The folder of all studies.
        store: The study's database, if that is not `study.db` in its folder.
    """
    where = [] if results == _DEFAULT_RESULTS else ["--results", str(results)]
    where += [] if store is None else ["--store", store]
    return shlex.join(["tuner", *(hide_password(str(word)) for word in (*words, *where))])
