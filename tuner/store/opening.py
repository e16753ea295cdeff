"""From where a study lies to its database, made on first use and checked before it is touched."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage

from tuner.errors import StorageError
from tuner.paths import LinkInStudyError, StudyPaths, own_place
from tuner.records import Direction
from tuner.store import engines, optuna_api
from tuner.store.database import Database
from tuner.store.distributions import StoredSpace
from tuner.store.journal_file import open_journal
from tuner.store.lease import Lease
from tuner.store.locations import DatabaseLocation, find_database
from tuner.store.optuna_api import ApiDatabase
from tuner.store.pending import PendingFolder, store_pending
from tuner.store.rdb import RelationalDatabase
from tuner.store.reader import read_study
from tuner.store.sqlite_file import check_study_file, check_writable
from tuner.store.study_data import study_not_found
from tuner.store.tables import check_tables


def open_database(
    location: DatabaseLocation,
    study: str,
    *,
    direction: Direction,
    metric: str,
    space: StoredSpace,
    create: bool,
    set_aside: Path | None,
) -> Database:
    """The database with the study in it, not yet claimed; see `tuner.store.optuna_store.open_store`.

    Args:
        location: Where it is.
        study: The study's name.
        direction: Which dev metrics are better.
        metric: The dev metric's name.
        space: How parameters are stored.
        create: Create the study if there is none.
        set_aside: Set a study of that name aside first, once it holds what waits for it in this folder.
    """
    if location.kind == "journal":
        shelf: _Shelf = _Journal(location, study, create=create)
    else:
        check_tables(shown=str(location))
        if location.kind == "sqlite":
            _prepare_file(location, study, direction=direction, metric=metric, create=create)
        shelf = _Relational(location)
    try:
        if set_aside is not None:
            _set_aside(shelf, study, direction=direction, space=space, waiting=set_aside)
        if shelf.find(study) is None:
            if not create:
                raise study_not_found(study, shelf.names(), shown=str(location))
            shelf.create(study, direction, metric)
        return shelf.open(study, direction, space)
    except BaseException:
        shelf.close()
        raise


class _Shelf(Protocol):
    """The studies of one database."""

    def find(self, study: str) -> int | None: ...

    def names(self) -> list[str]: ...

    def create(self, study: str, direction: Direction, metric: str) -> None: ...

    def rename(self, study: str, new_name: str) -> None: ...

    def open(self, study: str, direction: Direction, space: StoredSpace) -> Database: ...

    def close(self) -> None: ...


class _Relational:
    """Of a SQLite file or a server."""

    def __init__(self, location: DatabaseLocation) -> None:
        self._location = location
        is_file = location.kind == "sqlite"
        self._engine = engines.sqlite_engine(location.path) if is_file else engines.server_engine(location.url)

    def find(self, study: str) -> int | None:
        return engines.find_study(self._engine, study, shown=str(self._location))

    def names(self) -> list[str]:
        return engines.study_names(self._engine)

    def create(self, study: str, direction: Direction, metric: str) -> None:
        engines.create_study(self._location, study, direction=direction, metric=metric)

    def rename(self, study: str, new_name: str) -> None:
        engines.rename_study(self._engine, study, new_name)

    def open(self, study: str, direction: Direction, space: StoredSpace) -> Database:
        study_id = self.find(study)
        assert study_id is not None
        shown = str(self._location)
        return RelationalDatabase(self._engine, study_id=study_id, direction=direction, space=space, shown=shown)

    def close(self) -> None:
        self._engine.dispose()


class _Journal:
    """Of a journal file, which only Optuna's own interface can write."""

    def __init__(self, location: DatabaseLocation, study: str, *, create: bool) -> None:
        if not create and not location.path.exists():
            raise study_not_found(study, [], shown=str(location))
        self._shown = str(location)
        self._storage = open_journal(location.path)

    def find(self, study: str) -> int | None:
        return optuna_api.find_study(self._storage, study)

    def names(self) -> list[str]:
        return optuna_api.study_names(self._storage)

    def create(self, study: str, direction: Direction, metric: str) -> None:
        with suppress(DuplicatedStudyError):  # another process was quicker; the lease decides who runs it
            engines.new_study(self._storage, study, direction=direction, metric=metric)

    def rename(self, study: str, new_name: str) -> None:
        optuna_api.rename_study(self._storage, study, new_name)

    def open(self, study: str, direction: Direction, space: StoredSpace) -> Database:
        study_id = self.find(study)
        assert study_id is not None
        return ApiDatabase(self._storage, study_id=study_id, direction=direction, space=space, shown=self._shown)

    def close(self) -> None:
        self._storage.remove_session()


def _set_aside(shelf: _Shelf, study: str, *, direction: Direction, space: StoredSpace, waiting: Path) -> None:
    """Rename a study and those below it (`study/finalists`), each with all results that were meant for it.

    Raises:
        StorageError: a living process runs it, or what waits for it cannot be stored; it keeps its name.
    """
    held: list[Database] = []
    try:
        for name in [n for n in shelf.names() if n == study or n.startswith(f"{study}/")]:
            old = shelf.open(name, direction, space)
            old.claim(Lease.mine())
            held.append(old)
            store_pending(old, PendingFolder(waiting, name))
        if held:
            shelf.rename(study, f"{study} until {datetime.now(UTC):%Y-%m-%d %H:%M:%S}")
    finally:
        for old in held:
            with suppress(Exception):  # the first error is the one to tell; a journal's study has a new id
                old.release()


def open_for_dashboard(paths: StudyPaths, *, study: str, url: str | None) -> BaseStorage:
    """Optuna's own storage of an existing study, for a program that expects one.

    Raises:
        StudyNotFoundError: there is no such study.
        StorageError: the database cannot be used.
    """
    read_study(paths, study=study, url=url)
    location = find_database(paths, url=url)
    return open_journal(location.path) if location.kind == "journal" else engines.rdb_storage(location)


def _prepare_file(location: DatabaseLocation, study: str, *, direction: Direction, metric: str, create: bool) -> None:
    """Make sure that there is a SQLite file, that it is a sound study database, and that it can be written."""
    path = location.path
    if location.own:
        try:
            for file in StudyPaths(path.parent).database_files:
                own_place(file)
        except LinkInStudyError as error:
            raise StorageError(str(error)) from error
    if path.exists():
        check_study_file(path, thorough=True)
        check_writable(path)
        return
    if not create:
        raise study_not_found(study, [], shown=str(location))
    if not location.own and not path.parent.is_dir():
        raise StorageError(f"cannot create {path}: there is no folder {path.parent}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot create {path.parent}: {error.strerror}") from error
    engines.create_sqlite_study(path, study, direction=direction, metric=metric)
