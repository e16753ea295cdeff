"""Which database a study lies in: its own SQLite file, or what `--store` names; and how to show that."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tuner.errors import UsageError
from tuner.paths import StudyPaths

_SQLITE = re.compile(r"^sqlite(\+\w+)?://(/(?P<path>[^?]*))?(\?.*)?$")


@dataclass(frozen=True, slots=True)
class DatabaseLocation:
    """A database by kind: a SQLite file, an Optuna journal file, or a server."""

    kind: Literal["sqlite", "journal", "server"]
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
        url: An SQLAlchemy URL, `journal:///path`, or the path of a SQLite (or `.journal`, `.log`) file.

    Raises:
        UsageError: the URL names no database that can hold a study.
    """
    if url is None:
        return DatabaseLocation("sqlite", paths.database, own=True)
    if "://" not in url:
        path = Path(url).expanduser()
        return DatabaseLocation("journal" if path.suffix in (".journal", ".log") else "sqlite", path.absolute())
    if url.startswith("journal://"):
        return DatabaseLocation("journal", Path(url.removeprefix("journal://").replace("/", "", 1)).absolute())
    if match := _SQLITE.match(url):
        name = match["path"] or ""
        if name in ("", ":memory:"):
            raise UsageError(
                f"--store {url}: a database in memory cannot hold a study; name a file: sqlite:///study.db"
            )
        return DatabaseLocation("sqlite", Path(name).absolute())
    return DatabaseLocation("server", paths.folder, _with_driver(url))


def hide_password(text: str) -> str:
    """A text with the passwords of all URLs in it replaced by `***`."""
    text = re.sub(r"(://[^:/@\s]*:)\S*(?=@)", r"\1***", text)
    return re.sub(r"(?i)([?&](?:password|passwd|sslpassword)=)[^&\s]*", r"\1***", text)


def _with_driver(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg{separator}{rest}" if scheme in ("postgresql", "postgres") else url
