"""From where a study lies to its database, made on first use and checked before it is touched."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage

from tuner.errors import StorageError
from tuner.paths import StudyPaths
from tuner.records import Direction
from tuner.store import engines, optuna_api
from tuner.store.database import Database
from tuner.store.distributions import StoredSpace
from tuner.store.journal_file import open_journal
from tuner.store.lease import Lease
from tuner.store.locations import DatabaseLocation, find_database
from tuner.store.optuna_api import ApiDatabase
from tuner.store.rdb import RelationalDatabase
from tuner.store.reader import read_study, study_not_found
from tuner.store.sqlite_file import check_study_file, check_writable
from tuner.store.tables import tables_as_expected


def open_database(
    location: DatabaseLocation,
    study: str,
    *,
    direction: Direction,
    metric: str,
    space: StoredSpace,
    create: bool,
    fresh: bool,
) -> Database:
    """The database with the study in it, not yet claimed; see `tuner.store.optuna_store.open_store`."""
    if location.kind == "sqlite":
        _prepare_file(location, study, direction=direction, metric=metric, create=create)
    if location.kind == "journal" or not tables_as_expected():
        storage = _storage(location, study, create=create)
        return _open_by_api(
            storage,
            study,
            direction=direction,
            metric=metric,
            space=space,
            create=create,
            fresh=fresh,
            shown=str(location),
        )
    engine = engines.sqlite_engine(location.path) if location.kind == "sqlite" else engines.server_engine(location.url)
    try:
        study_id = engines.find_study(engine, study, shown=str(location))
        if study_id is not None and fresh:
            old = RelationalDatabase(engine, study_id=study_id, direction=direction, space=space, shown=str(location))
            old.claim(Lease.mine())
            engines.rename_study(engine, study, _name_of_old(study))
            old.release()
            study_id = None
        if study_id is None:
            if not create:
                raise study_not_found(study, engines.study_names(engine), shown=str(location))
            engines.create_study(location, study, direction=direction, metric=metric)
            study_id = engines.find_study(engine, study, shown=str(location))
            assert study_id is not None
    except BaseException:
        engine.dispose()
        raise
    return RelationalDatabase(engine, study_id=study_id, direction=direction, space=space, shown=str(location))


def open_for_dashboard(paths: StudyPaths, *, study: str, url: str | None) -> BaseStorage:
    """Optuna's own storage of an existing study, for a program that expects one.

    Raises:
        StudyNotFoundError: there is no such study.
        StorageError: the database cannot be used.
    """
    read_study(paths, study=study, url=url)
    location = find_database(paths, url=url)
    return open_journal(location.path) if location.kind == "journal" else engines.rdb_storage(location)


def _open_by_api(
    storage: BaseStorage,
    study: str,
    *,
    direction: Direction,
    metric: str,
    space: StoredSpace,
    create: bool,
    fresh: bool,
    shown: str,
) -> ApiDatabase:
    study_id = optuna_api.find_study(storage, study)
    if study_id is not None and fresh:
        old = ApiDatabase(storage, study_id=study_id, direction=direction, space=space, shown=shown)
        old.claim(Lease.mine())
        old.release()
        optuna_api.rename_study(storage, study, _name_of_old(study))
        study_id = None
    if study_id is None:
        if not create:
            raise study_not_found(study, optuna_api.study_names(storage), shown=shown)
        with suppress(DuplicatedStudyError):  # another process was quicker; the lease decides who runs it
            engines.new_study(storage, study, direction=direction, metric=metric)
        study_id = optuna_api.find_study(storage, study)
        assert study_id is not None
    return ApiDatabase(storage, study_id=study_id, direction=direction, space=space, shown=shown)


def _storage(location: DatabaseLocation, study: str, *, create: bool) -> BaseStorage:
    if location.kind != "journal":
        return engines.rdb_storage(location)
    if not create and not location.path.exists():
        raise study_not_found(study, [], shown=str(location))
    return open_journal(location.path)


def _prepare_file(location: DatabaseLocation, study: str, *, direction: Direction, metric: str, create: bool) -> None:
    """Make sure that there is a SQLite file, that it is a sound study database, and that it can be written."""
    path = location.path
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


def _name_of_old(study: str) -> str:
    return f"{study} until {datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
