"""Looking at a SQLite file with the standard library alone: is it a study, can it be read, can it be written?

Opening a file with SQLAlchemy and Optuna changes it: tables appear in other programs' databases. So it is looked
at here first, and what is refused is left as it was, byte for byte.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import quote

from tuner.errors import StorageError
from tuner.store.shapes import shown_name

SCHEMA_VERSION = "v3.2.0.a"
"""Optuna's name for the schema of its versions 3.2 to 5."""
OLDER_SCHEMAS = (
    "v0.9.0.a",
    "v1.2.0.a",
    "v1.3.0.a",
    "v2.4.0.a",
    "v2.6.0.a",
    "v3.0.0.a",
    "v3.0.0.b",
    "v3.0.0.c",
    "v3.0.0.d",
)
_TABLES = frozenset(
    {
        "studies",
        "study_directions",
        "study_user_attributes",
        "study_system_attributes",
        "trials",
        "trial_params",
        "trial_values",
        "trial_intermediate_values",
        "trial_user_attributes",
        "alembic_version",
    }
)
"""The tables that we read."""

BUSY_SECONDS = 5.0
"""How long SQLite itself waits for a lock."""

Result = TypeVar("Result")

_MAGIC = b"SQLite format 3\0"
_SHARED_FILE_SYSTEMS = {
    "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse", "gfs2", "glusterfs", "gpfs", "lustre", "nfs", "nfs4",
    "ocfs2", "orangefs", "panfs", "prl_fs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs", "wekafs",
}  # fmt: skip
"""Kinds of file systems that other machines may write to; every `fuse.*` is taken for one."""


def check_study_file(path: Path, *, thorough: bool) -> None:
    """Make sure that an existing file is an intact Optuna database of a schema that we know.

    Args:
        path: An existing file.
        thorough: Look at every page (about 10 ms for each 1,000 trials), not only at the tables.

    Raises:
        StorageError: it is not; the file is as it was.
    """

    def check(connection: sqlite3.Connection) -> None:
        check_schema(connection, shown=str(path))
        if thorough:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise StorageError(f"{path} is damaged: {found.splitlines()[-1]}; {MEND}")

    check_header(path)
    read_file(path, check)


MEND = "`tuner doctor STUDY --repair FILE` writes what can be read into a new file"


def check_header(path: Path) -> None:
    """Make sure that a file begins as SQLite files do, without opening it as a database.

    Raises:
        StorageError: it does not.
    """
    if path.is_dir():
        raise StorageError(f"{path} is a folder, not a study database")
    if _may_be_open(path):
        return  # SQLite tells of what it finds
    try:
        with path.open("rb") as file:
            header = file.read(100)
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror}") from error
    if not header:
        raise StorageError(f"{path} is empty (0 bytes), not a study database; remove it, or restore a backup")
    if not header.startswith(_MAGIC):
        raise StorageError(f"{path} is not a SQLite database (it begins with {header[:12]!r})")


def check_schema(connection: sqlite3.Connection, *, shown: str) -> None:
    """Make sure that an open database has Optuna's tables, in the version that we know.

    Raises:
        StorageError: it has not.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if missing := _TABLES - tables:
        theirs = ", ".join(map(shown_name, sorted(tables)[:5])) or "none"
        raise StorageError(
            f"{shown} is the database of another program: it has no table {min(missing)} (its tables: {theirs})"
        )
    check_version([row[0] for row in connection.execute("SELECT version_num FROM alembic_version")], shown=shown)


def check_version(versions: list[str], *, shown: str) -> None:
    """Make sure that a database has the schema version that we know.

    Raises:
        StorageError: it is newer or older.
    """
    version = versions[0] if versions else "none"
    if version == SCHEMA_VERSION:
        return
    if version in OLDER_SCHEMAS:
        raise StorageError(
            f"{shown} has the older Optuna schema {version}, {SCHEMA_VERSION} is needed; "
            "back it up and run `optuna storage upgrade`"
        )
    raise StorageError(
        f"{shown} has Optuna schema {shown_name(version)}, this version of tuner knows {SCHEMA_VERSION}; "
        "upgrade tuner and optuna"
    )


def read_file(path: Path, work: Callable[[sqlite3.Connection], Result]) -> Result:
    """Run queries on an existing SQLite file, also during a run or on a read-only disk; no file appears beside it.

    Args:
        path: The file.
        work: Is given a read-only connection; may be run a second time.

    Raises:
        StorageError: the file cannot be read as a database.
    """
    try:
        if (before := _stamp_at_rest(path)) is not None:
            # A plain reader would create the files of a write-ahead log here, and could not remove them.
            outcome = _attempt(path, work)
            if _stamp_at_rest(path) == before:
                if isinstance(outcome, sqlite3.Error):
                    raise outcome
                return outcome
        return _query_live(path, work)
    except sqlite3.Error as error:
        raise StorageError(explain(path, error)) from error


def _may_be_open(path: Path) -> bool:
    """Whether this process may have a file open for writing; SQLite keeps another one beside it then.

    Who opens it himself would take all locks that SQLite has on it away from the process, by closing it.
    """
    return any(Path(f"{path}{end}").exists() for end in ("-shm", "-journal"))


def _stamp_at_rest(path: Path) -> tuple[int, int] | None:
    """What changes when a file is written to; None unless its journal is a write-ahead log that is empty."""
    wal = Path(f"{path}-wal")
    if _may_be_open(path) or (wal.exists() and wal.stat().st_size > 0):
        return None
    with path.open("rb") as file:
        if file.read(20)[18:20] != b"\x02\x02":
            return None
    return path.stat().st_mtime_ns, path.stat().st_size


def _attempt(path: Path, work: Callable[[sqlite3.Connection], Result]) -> Result | sqlite3.Error:
    try:
        return _query(path, work, options="immutable=1")
    except sqlite3.Error as error:
        return error


def _query_live(path: Path, work: Callable[[sqlite3.Connection], Result]) -> Result:
    """Query a file that may be in use, or was when its process died."""
    if Path(f"{path}-shm").exists() or not Path(f"{path}-wal").exists():
        try:
            return _query(path, work)
        except sqlite3.OperationalError as error:
            if result_code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
                raise
    # The log must be read too, and SQLite wants to put its shared-memory file beside it, perhaps on a read-only disk;
    # or a transaction that was cut short must be taken back, with what its rollback journal has kept.
    import tempfile

    with tempfile.TemporaryDirectory(prefix="tuner-") as folder:
        return _query(copy_with_journals(path, Path(folder)), work, mode="rw")


def copy_with_journals(path: Path, folder: Path) -> Path:
    """Copy a file with what its last transaction may need; SQLite mends the copy when it opens it."""
    import shutil

    copy = folder / "study.db"
    for suffix in ("-journal", "", "-wal"):  # the journal first: it takes back whatever is written meanwhile
        if not suffix or Path(f"{path}{suffix}").exists():
            shutil.copyfile(f"{path}{suffix}", f"{copy}{suffix}")
    return copy


def _query(
    path: Path, work: Callable[[sqlite3.Connection], Result], *, mode: Literal["ro", "rw"] = "ro", options: str = ""
) -> Result:
    uri = f"file:{quote(str(path))}?mode={mode}&{options}"
    with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        return work(connection)


def check_writable(path: Path) -> None:
    """Make sure that an existing file and its folder can be written.

    Raises:
        StorageError: they cannot.
    """
    for place in (path, path.parent):
        if not os.access(place, os.W_OK):
            raise StorageError(f"{place} is read-only; reports still work, `tuner run` needs to write it")


def explain(path: Path | str, error: BaseException) -> str:
    """One line for an error of SQLite: the file, the cause and what helps."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    match result_code(error):
        case sqlite3.SQLITE_CORRUPT if isinstance(path, Path):
            return f"{path} is damaged ({_missing_bytes(path) or text}); {MEND}"
        case sqlite3.SQLITE_NOTADB:
            return f"{path} is not a SQLite database, or is damaged ({text}); {MEND}"
        case sqlite3.SQLITE_FULL:
            return f"disk full: {path} cannot grow"
        case sqlite3.SQLITE_READONLY:
            return f"{path} is read-only"
        case sqlite3.SQLITE_IOERR if getattr(error, "sqlite_errorname", "").endswith("LOCK"):
            return f"{path}: files cannot be locked on its drive; put it on another, or use a server: --store URL"
    return f"{path}: {text}"


def result_code(error: BaseException) -> int | None:
    """SQLite's primary code for an error, since its words may hold anybody's: a path, a value; None if it has none."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def _missing_bytes(path: Path) -> str:
    with path.open("rb") as file:
        header = file.read(100)
    page_bytes = int.from_bytes(header[16:18], "big")
    expected = (65536 if page_bytes == 1 else page_bytes) * int.from_bytes(header[28:32], "big")
    size = path.stat().st_size
    return f"truncated: {size:,} of {expected:,} bytes" if size < expected else ""


def on_network_drive(path: Path) -> bool:
    """Whether other machines may write where a file lies, as the table of mounts tells (Linux only).

    `TUNER_MOUNTS` names another table; with it, tests have a folder taken for a network drive.
    """
    try:
        table = Path(os.environ.get("TUNER_MOUNTS", "/proc/self/mounts"))
        mounts = table.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    folder = path.resolve().parent
    best = ("", "")
    for line in mounts:
        _, mount_point, kind, *_ = line.split(" ")
        place = mount_point.replace("\\040", " ")
        if folder.is_relative_to(place) and len(place) >= len(best[0]):
            best = (place, kind)
    return best[1] in _SHARED_FILE_SYSTEMS or best[1].startswith("fuse.")
