"""From where a study lies to its database, made on first use and checked before it is touched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from optuna.storages import BaseStorage
from sqlalchemy import Engine

from tuner.errors import StorageError
from tuner.paths import LinkInStudyError, StudyPaths, own_place
from tuner.records import Direction
from tuner.store import engines
from tuner.store.database import Database
from tuner.store.distributions import StoredSpace
from tuner.store.lease import Lease
from tuner.store.locations import DatabaseLocation, find_database
from tuner.store.pending import PendingFolder, store_pending
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
    shown = str(location)
    check_tables(shown=shown)
    if location.kind == "sqlite":
        _prepare_file(location, study, direction=direction, metric=metric, create=create)
        engine = engines.sqlite_engine(location.path)
    else:
        engine = engines.server_engine(location.url)

    def find(name: str) -> Database | None:
        study_id = engines.find_study(engine, name, shown=shown)
        if study_id is None:
            return None
        return Database(engine, study_id=study_id, direction=direction, space=space, shown=shown)

    try:
        if set_aside is not None:
            _set_aside(engine, study, find, waiting=set_aside)
        found = find(study)
        if found is None:
            if not create:
                raise study_not_found(study, engines.study_names(engine), shown=shown)
            engines.create_study(location, study, direction=direction, metric=metric)
            found = find(study)
            assert found is not None
        return found
    except BaseException:
        engine.dispose()
        raise


def _set_aside(engine: Engine, study: str, find: Callable[[str], Database | None], *, waiting: Path) -> None:
    """Rename a study and those below it (`study/finalists`), each with all results that were meant for it.

    Raises:
        StorageError: a living process runs it, or what waits for it cannot be stored; it keeps its name.
    """
    held: list[Database] = []
    try:
        for name in [n for n in engines.study_names(engine) if n == study or n.startswith(f"{study}/")]:
            old = find(name)
            assert old is not None
            old.claim(Lease.mine())
            held.append(old)
            store_pending(old, PendingFolder(waiting, name))
        if held:
            engines.rename_study(engine, study, f"{study} until {datetime.now(UTC):%Y-%m-%d %H:%M:%S}")
    finally:
        for old in held:
            with suppress(Exception):  # the first error is the one to tell
                old.release()


def open_for_dashboard(paths: StudyPaths, *, study: str, url: str | None) -> BaseStorage:
    """Optuna's own storage of an existing study, for a program that expects one.

    Raises:
        StudyNotFoundError: there is no such study.
        StorageError: the database cannot be used.
    """
    read_study(paths, study=study, url=url)
    location = find_database(paths, url=url)
    return engines.rdb_storage(location)


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
