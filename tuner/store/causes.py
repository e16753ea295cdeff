"""What the errors of databases mean."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Literal

from tuner.errors import StorageError
from tuner.store.sqlite_file import result_code


class LeaseLostError(StorageError):
    """Another process runs the study now."""


class DatabaseGoneError(StorageError):
    """The database was removed, moved or replaced under a run: there is nothing to write to, nor to go on with."""


_Cause = Literal["busy", "full", "fatal"]
"""`busy`: locked, or a server that restarts: trying again may help. `full`: no room on the disk."""

_BUSY = (
    "database is locked",
    "database table is locked",
    "database schema is locked",
    "connection",
    "server closed",
    "terminating",
    "starting up",
    "shutting down",
    "recovery mode",
    "deadlock",
    "lost connection",
    "gone away",
    "timeout",
)
_FULL = ("disk is full", "no space left", "disk full", "disk quota exceeded")
_FATAL = ("password authentication", "no pg_hba", "does not exist", "access denied", "readonly", "malformed")
_SQLITE_CAUSES: Mapping[int, _Cause] = {
    sqlite3.SQLITE_BUSY: "busy", sqlite3.SQLITE_LOCKED: "busy", sqlite3.SQLITE_FULL: "full"
}  # fmt: skip
_SERVER_CAUSES: Mapping[str, _Cause] = {
    "08": "busy", "25P03": "busy", "40": "busy", "53100": "full", "53300": "busy", "55P03": "busy", "57": "busy"
}  # fmt: skip
"""By the beginning of PostgreSQL's codes: connections, time limits, deadlocks, the disk, locks, a server that ends."""


def cause_of(error: BaseException) -> _Cause:
    """What an error of a database, or one that it caused, means for the one who called.

    Its code tells, where it has one; words are looked at elsewhere, and only those that no statement brought with it.
    """
    root = root_of(error)
    if (code := result_code(root)) is not None:
        return _SQLITE_CAUSES.get(code, "fatal")
    if isinstance(state := getattr(root, "sqlstate", None), str):
        return next((cause for begin, cause in _SERVER_CAUSES.items() if state.startswith(begin)), "fatal")
    text = " ".join(_own_words(part).lower() for part in _chain(error))
    if any(words in text for words in _FULL):
        return "full"
    if any(words in text for words in _FATAL):
        return "fatal"
    return "busy" if any(words in text for words in _BUSY) else "fatal"


def _own_words(error: BaseException) -> str:
    """What an error says, without the file that it names and without the statement and values that SQLAlchemy adds."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error.args[0]) if hasattr(error, "statement") and error.args else str(error)


def root_of(error: BaseException) -> BaseException:
    """The driver's own error beneath what SQLAlchemy and Optuna made of it."""
    return _chain(error)[-1]


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (inner := getattr(chain[-1], "orig", None) or chain[-1].__cause__) is not None and inner not in chain:
        chain.append(inner)
    return chain
