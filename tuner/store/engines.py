"""Connections to SQLite files and database servers, and the making of new studies in them."""

from __future__ import annotations

import os
import random
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, inspect, select, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from tuner.errors import StorageError, UsageError
from tuner.records import Direction
from tuner.store.causes import DatabaseGoneError, cause_of
from tuner.store.codec import METRIC_NAMES_ATTRIBUTE, STUDY_ATTRIBUTE, study_mark
from tuner.store.locations import DatabaseLocation, hide_password
from tuner.store.new_study import insert_study, make_schema
from tuner.store.sqlite_file import BUSY_SECONDS, check_version, on_network_drive, result_code
from tuner.store.tables import STUDIES

_CONNECT_SECONDS = 5
"""How long a server may take to accept a connection."""
_CREATION_ATTEMPTS = 20


def sqlite_engine(path: Path) -> Engine:
    """Connections to an existing SQLite file for its one writer: durable, with write locks from the start.

    A transaction that finds another file in its place, or none, raises `DatabaseGoneError`: SQLite would write on into
    a file that nobody can find any more.
    """
    made = _identity(path)

    def check_in_place() -> None:
        if _identity(path) != made:
            raise DatabaseGoneError(f"{path} was removed or replaced during the run, so there is nothing to go on with")

    def connect() -> sqlite3.Connection:
        check_in_place()
        return _connect_to_write(path)

    # With a creator, the path needs no quoting in a URL: it may hold `?`, `%` and braces.
    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=1)

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        check_in_place()
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _connect_to_write(path: Path) -> sqlite3.Connection:
    """A durable connection with a write-ahead log, or where memory cannot be shared for one, with a rollback journal.

    On a network drive each machine has a memory of its own, even where sharing it seems to work.
    """
    connection = _connect(path)
    if on_network_drive(path) or not _logs_ahead(connection):
        connection.close()  # one that could not share memory goes on trying
        connection = _connect(path)
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # a log that there is already is read without sharing
        # Truncating is synced: a power cut could undo a removal, and other machines may learn late of one.
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("PRAGMA locking_mode = NORMAL")
        connection.execute("PRAGMA schema_version")  # gives the lock back
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _logs_ahead(connection: sqlite3.Connection) -> bool:
    """Begin a write-ahead log, so that readers hold nothing up; False where the memory that it shares cannot be had."""
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA schema_version")  # opens the log
    except sqlite3.OperationalError as error:
        if result_code(error) not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR):
            raise
        return False
    return True


def server_engine(url: str) -> Engine:
    """Connections to a database server, each tried before use.

    Raises:
        UsageError: the URL cannot be understood.
        StorageError: its driver is not installed.
    """
    timeout = {"connect_timeout": _CONNECT_SECONDS} if url.startswith(("postgresql+psycopg", "mysql")) else {}
    try:
        return create_engine(url, pool_pre_ping=True, pool_size=1, connect_args=timeout)
    except ImportError as error:
        raise StorageError(
            f"{hide_password(url)}: the driver of this database is not installed ({error}); run: "
            f"{_INSTALLS.get(error.name or '', f'pip install {error.name}')}"
        ) from error
    except (ArgumentError, ValueError):  # their words may have the password in them
        raise UsageError(
            f"--store {hide_password(url)} cannot be understood; "
            "write postgresql://HOST:PORT/DATABASE, with USER:PASSWORD@ before the host; the port is a number"
        ) from None


_INSTALLS = {
    "psycopg": 'pip install "tuner[postgres]"',
    "MySQLdb": "pip install mysqlclient (or name another driver: mysql+pymysql://)",
}
"""How to get a driver whose package has another name."""


def find_study(engine: Engine, study: str, *, shown: str) -> int | None:
    """The id of a study; None if there is no such study, or no Optuna schema yet.

    Raises:
        StorageError: the schema's version is not ours.
    """
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        versions = [row[0] for row in connection.execute(text("SELECT version_num FROM alembic_version"))]
        check_version(versions, shown=shown)
        found = connection.execute(text("SELECT study_id FROM studies WHERE study_name = :name"), {"name": study})
        return found.scalar_one_or_none()


def study_names(engine: Engine) -> list[str]:
    """The names of all studies."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("studies"):
            return []
        return [row[0] for row in connection.execute(text("SELECT study_name FROM studies"))]


def rename_study(engine: Engine, study: str, new_name: str) -> None:
    """Rename a study and those below it (`study/finalists`)."""
    with engine.begin() as connection:
        for name in [row[0] for row in connection.execute(text("SELECT study_name FROM studies"))]:
            if name == study or name.startswith(f"{study}/"):
                connection.execute(
                    text("UPDATE studies SET study_name = :new WHERE study_name = :name"),
                    {"new": new_name + name.removeprefix(study), "name": name},
                )


def create_sqlite_study(path: Path, study: str, *, direction: Direction, metric: str) -> None:
    """Create a SQLite file with one new study; the file appears whole, or not at all.

    Where another process was quicker, its file stays.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with _new_sqlite_file(part) as connection:
            insert_study(connection, study, direction=direction, metric=metric)
        with suppress(FileExistsError):
            put_in_place(part, path)
    finally:
        part.unlink(missing_ok=True)


def create_sqlite_schema(path: Path) -> None:
    """Create a SQLite file with Optuna's tables and no study."""
    with _new_sqlite_file(path):
        pass


@contextmanager
def _new_sqlite_file(path: Path) -> Iterator[Connection]:
    """A connection to a new file that nobody else sees yet, and that has Optuna's tables."""
    engine = create_engine("sqlite://", creator=lambda: _connect_hastily(path), poolclass=QueuePool)
    try:
        with engine.begin() as connection:
            make_schema(connection)
            yield connection
    finally:
        engine.dispose()


@contextmanager
def new_storage(path: Path) -> Iterator[RDBStorage]:
    """Optuna's storage of a new file that nobody else sees yet."""
    create_sqlite_schema(path)
    arguments = {"creator": lambda: _connect_hastily(path), "poolclass": QueuePool}
    with quiet_optuna():
        storage = RDBStorage("sqlite://", engine_kwargs=arguments, skip_compatibility_check=True)
    try:
        yield storage
    finally:
        storage.engine.dispose()


def create_study(location: DatabaseLocation, study: str, *, direction: Direction, metric: str) -> None:
    """Create a study, and Optuna's schema where there is none, in an existing SQLite file or on a server.

    Several processes may do so at once: Optuna's own creation, on a server, is no match for that, so it is tried again.
    """
    if location.kind == "sqlite":
        _create_in_file(location.path, study, direction=direction, metric=metric)
        return
    for attempt in range(1, _CREATION_ATTEMPTS + 1):
        try:
            storage = rdb_storage(location)
            try:
                _new_study(storage, study, direction=direction, metric=metric)
            finally:
                storage.engine.dispose()
            return
        except optuna.exceptions.DuplicatedStudyError:
            return
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, AssertionError) as error:
            if attempt == _CREATION_ATTEMPTS or cause_of(error) == "full" or "password" in str(error):
                raise
            time.sleep(random.uniform(0.05, 0.3))


def _create_in_file(path: Path, study: str, *, direction: Direction, metric: str) -> None:
    engine = sqlite_engine(path)
    try:
        with engine.begin() as connection:  # nobody else writes meanwhile
            make_schema(connection)
            if not connection.execute(select(STUDIES.c.study_id).where(STUDIES.c.study_name == study)).first():
                insert_study(connection, study, direction=direction, metric=metric)
    finally:
        engine.dispose()


def rdb_storage(location: DatabaseLocation) -> RDBStorage:
    """Optuna's own storage of a SQLite file or a server; creates the schema where there is none."""
    if location.kind == "sqlite":
        creator = {"creator": lambda: _connect(location.path, isolation="DEFERRED"), "poolclass": QueuePool}
        return _rdb_storage("sqlite://", creator)
    url = location.url.replace("{", "{{").replace("}", "}}")  # Optuna takes a URL for a template
    return _rdb_storage(url, {"pool_pre_ping": True})


def _new_study(storage: BaseStorage, study: str, *, direction: Direction, metric: str) -> None:
    """Create a study through Optuna's storage interface, and mark it as ours."""
    with quiet_optuna():
        study_id = storage.create_new_study([StudyDirection[direction.name]], study)
    storage.set_study_system_attr(study_id, METRIC_NAMES_ATTRIBUTE, [metric])
    storage.set_study_user_attr(study_id, STUDY_ATTRIBUTE, study_mark(metric))


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's remarks off stderr; its warnings and errors stay."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _rdb_storage(url: str, engine_arguments: dict[str, Any]) -> RDBStorage:
    with quiet_optuna():
        return RDBStorage(url, engine_kwargs=engine_arguments)


def _identity(path: Path) -> tuple[int, int] | None:
    """What another file at the path has not; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _connect(path: Path, *, isolation: Literal["DEFERRED"] | None = None) -> sqlite3.Connection:
    """A connection that several threads may use one after the other; without isolation, it begins no transaction."""
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=isolation, check_same_thread=False)


def _connect_hastily(path: Path) -> sqlite3.Connection:
    """A connection to a file that nobody else sees yet, and that is made durable as a whole."""
    connection = _connect(path, isolation="DEFERRED")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def put_in_place(part: Path, path: Path) -> None:
    """Give a finished file its name, durably.

    Raises:
        FileExistsError: there is a file of that name; it stays.
    """
    with part.open("rb") as file:
        os.fsync(file.fileno())
    try:
        os.link(part, path)  # unlike a rename, this never replaces a file
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(path) from None
        part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
