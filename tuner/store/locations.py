"""Which database a study lies in: its own SQLite file, or what `--store` names; and how to show that."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tuner.errors import UsageError
from tuner.paths import StudyPaths

_SERVERS = ("postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle")
"""Kinds of servers that Optuna's tables can lie on."""
_SQLITE = re.compile(r"^sqlite(\+\w+)?://(/(?P<path>[^?]*))?(\?.*)?$")


@dataclass(frozen=True, slots=True)
class DatabaseLocation:
    """A database by kind: a SQLite file, or a server."""

    kind: Literal["sqlite", "server"]
    path: Path
    """The file; for a server the study's folder."""
    url: str = ""
    """For a server."""
    own: bool = False
    """Whether it is the file in the study's folder, which tuner may create together with its folders."""

    def __str__(self) -> str:
        return hide_password(self.url) if self.kind == "server" else str(self.path)


def find_database(paths: StudyPaths, *, url: str | None) -> DatabaseLocation:
    """The database of a study.

    Args:
        paths: The study's folder; holds `study.db` where no URL is given.
        url: An SQLAlchemy URL, or the path of a SQLite file.

    Raises:
        UsageError: the URL names no database that can hold a study.
    """
    if url is None:
        return DatabaseLocation("sqlite", paths.database, own=True)
    if url.startswith("journal://"):
        raise _no_journal(url, Path(url.removeprefix("journal://").removeprefix("/")))
    if "://" not in url:
        path = Path(url).expanduser()
        if path.suffix in (".journal", ".log"):
            raise _no_journal(url, path)
        return DatabaseLocation("sqlite", path.absolute())
    if match := _SQLITE.match(url):
        name = match["path"] or ""
        if name in ("", ":memory:"):
            raise UsageError(
                f"--store {url}: a database in memory cannot hold a study; name a file: sqlite:///study.db"
            )
        return DatabaseLocation("sqlite", Path(name).absolute())
    _check_server(url)
    return DatabaseLocation("server", paths.folder, _with_driver(url))


def hide_password(argument: str) -> str:
    """A URL with its password replaced by `***`, which may hold spaces, `@` and whatever else; or else a text."""
    if not _URL.match(argument):
        return hide_passwords(argument)
    shown = _USER.sub(lambda found: f"{found[1]}{_without_password(found[2])}@", argument)
    return _PARAMETER.sub(r"\1***", _NO_HOST.sub(r"\1***", shown))


def hide_passwords(text: str) -> str:
    """A text with the passwords of the URLs and settings in it replaced by `***`; each ends with its word."""
    return _SETTING.sub(r"\1***", _IN_TEXT.sub(r"\1***", text))


_IN_TEXT = re.compile(r"(://[^:/@\s]*:)\S*(?=@)")
_URL = re.compile(r"(--[\w-]+=)?[A-Za-z][\w+.-]*://")
_USER = re.compile(r"(://)(.*)@", re.DOTALL)
_NO_HOST = re.compile(r"(://[^\[/:@]*:)(?!\*\*\*|\d+(?:[/?]|$))[^/]+")
"""A user and a password, where the host was forgotten."""
_NAMES = r"(?:password|passwd|pwd|sslpassword|secret|token)"
_PARAMETER = re.compile(rf"(?i)([?&]{_NAMES}=)[^&]*")
_SETTING = re.compile(rf"(?i)\b({_NAMES}=)(?:'[^']*'|\"[^\"]*\"|[^&\s]+)")


def _without_password(user: str) -> str:
    name, colon, _ = user.partition(":")
    return f"{name}:***" if colon else user


def _no_journal(url: str, path: Path) -> UsageError:
    new = path.parent / f"{path.stem or 'study'}.db"
    convert = shlex.join(["tuner", "doctor", "--convert", str(path), str(new)])
    first = (
        f"`{convert}` writes what this one holds into a SQLite file, for" if path.exists() else "name a SQLite file:"
    )
    return UsageError(f"--store {url}: studies no longer lie in Optuna's journal files; {first} --store {new}")


def _check_server(url: str) -> None:
    """Make sure that a URL names a kind of server, and that its parts can be told apart."""
    scheme, _, rest = url.partition("://")
    kind = scheme.partition("+")[0]
    if kind not in _SERVERS:
        known = ", ".join(f"{name}://" for name in _SERVERS)
        raise UsageError(
            f'--store {hide_password(url)}: no kind of database is called "{kind}"; known are sqlite:///FILE, {known}'
        )
    if rest.partition("?")[0].count("@") > 1:
        raise UsageError(f"--store {hide_password(url)}: write an @ in the user's name or the password as %40")


def _with_driver(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg{separator}{rest}" if scheme in ("postgresql", "postgres") else url
