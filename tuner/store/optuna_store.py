"""The store of a sweep: an Optuna study in a SQLite file, or on a database server."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from optuna.exceptions import OptunaError
from sqlalchemy.exc import SQLAlchemyError

from tuner.errors import StorageError, StudyMismatchError
from tuner.paths import StudyPaths
from tuner.records import Direction, Json, Params, TrialRecord
from tuner.spec.space import Space
from tuner.store.book import RecordBook
from tuner.store.codec import STUDY_ATTRIBUTE, decode, encode, identity_of, study_mark
from tuner.store.database import Database
from tuner.store.distributions import StoredSpace
from tuner.store.lease import Lease
from tuner.store.locations import find_database
from tuner.store.opening import open_database
from tuner.store.pending import PendingFolder, newer_records
from tuner.store.reader import read_lease
from tuner.store.writer import Writer, as_storage_error, patiently


class OptunaStore(RecordBook):
    """Implements `tuner.store.store.StudyStore` in a database."""

    def __init__(
        self,
        database: Database,
        *,
        study: str,
        direction: Direction,
        metric: str,
        space: StoredSpace,
        seed: int,
        pending: PendingFolder,
        shown: str,
    ) -> None:
        """Take over a database whose lease is ours, and store what an earlier run could not write."""
        records, facts = database.load()
        mark = facts.pop(STUDY_ATTRIBUTE, None)
        check_metric(mark, metric, study=study, shown=shown)
        mine = mark if identity_of(mark) else study_mark(metric)
        files, kept, kept_facts = replace(pending, identity=identity_of(mark)).read()
        kept_facts.pop(STUDY_ATTRIBUTE, None)
        replayed = newer_records(kept, {record.number: record for record in records})
        known = {record.number: record for record in records} | replayed
        super().__init__(
            study=study,
            direction=direction,
            seed=seed,
            records=[known[number] for number in sorted(known)],
            facts=facts | {key: decode(value) for key, value in kept_facts.items()},
        )
        self._space = space
        self._closed = False
        self._writer = Writer(database, pending=replace(pending, identity=identity_of(mine)), shown=shown)
        if mine is not mark:  # a study of plain Optuna's, or of an earlier version
            self._writer.put_fact(STUDY_ATTRIBUTE, encode(mine))
        for record in replayed.values():
            self._writer.put(record)
        for key, text in kept_facts.items():
            self._writer.put_fact(key, text)
        if files:
            self._writer.flush()
            for file in files:
                file.unlink(missing_ok=True)

    def _changed(self, *records: TrialRecord, progress_only: bool = False) -> None:
        self._writer.put(*records, progress_only=progress_only)

    def _fact_changed(self, key: str, text: str) -> None:
        self._writer.put_fact(key, text)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        """Flush, and give the database up; a second call does nothing."""
        if not self._closed:
            self._closed = True
            self._writer.close()

    def _stored_params(self, params: Params) -> Params:
        return self._space.plain(params)


def open_store(
    paths: StudyPaths,
    *,
    study: str,
    direction: Direction,
    metric: str,
    space: Space,
    seed: int = 0,
    url: str | None = None,
    create: bool = True,
    fresh: bool = False,
) -> OptunaStore:
    """Open a study as its only writer.

    Args:
        paths: The study's folder; holds the database where no URL is given.
        study: Its name.
        direction: Which dev metrics are better.
        metric: The dev metric's name.
        space: The hyperparameters; says how they are stored.
        seed: Seed of the search; the trials' seeds follow from it.
        url: An Optuna database to use instead of `study.db` in the folder.
        create: Create the study if there is none.
        fresh: Set a study of that name aside within its database, under a name with the time, and begin a new one;
            what waits in the folder to be written into the old one is, before. The trials' folders are the caller's to
            set aside.

    Raises:
        StudyNotFoundError: there is no such study, and none is to be created.
        StudyMismatchError: the study has another direction or metric.
        StorageError: the database cannot be used, or another process runs the study.
    """
    location = find_database(paths, url=url)
    stored_space = StoredSpace(space)
    shown = str(location)
    try:

        def open_() -> Database:
            return open_database(
                location, study, direction=direction, metric=metric, space=stored_space, create=create,
                set_aside=paths.pending if fresh else None,
            )  # fmt: skip

        def name_owner() -> None:
            if location.kind == "sqlite":
                _check_not_run(location.path, study)

        # A lock is waited for; a server that does not answer now is more likely mistyped than about to start.
        database = open_() if location.kind == "server" else patiently(open_, shown=shown, on_busy=name_owner)
        try:
            _check_direction(database.directions(), direction, study=study, shown=shown)
            patiently(lambda: database.claim(Lease.mine()), shown=shown, on_busy=name_owner)
            return OptunaStore(
                database,
                study=study,
                direction=direction,
                metric=metric,
                space=stored_space,
                seed=seed,
                pending=PendingFolder(paths.pending, study),
                shown=shown,
            )
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                database.release()
            database.close()
            raise
    except (SQLAlchemyError, OptunaError, sqlite3.Error, OSError, RuntimeError) as error:
        raise as_storage_error(error, shown=shown) from error


def _check_not_run(path: Path, study: str) -> None:
    """Make sure that the lock of a SQLite file is not held by a process that runs the study: it may be suspended.

    Raises:
        StorageError: it is; the message names it.
    """
    owner = None
    with suppress(StorageError):  # what cannot be read now is waited for
        owner = read_lease(path, study=study)
    if owner is not None and owner.alive:
        raise StorageError(
            f"the study in {path} is run by {owner}, which holds the database's lock; wait for it, or stop it "
            "(`kill -CONT` wakes one that is suspended), before running it here"
        )


def _check_direction(found: list[str], wanted: Direction, *, study: str, shown: str) -> None:
    """Make sure that a study has one objective, of the direction that the sweep wants.

    Raises:
        StudyMismatchError: it has not.
    """
    if found != [wanted.name]:
        raise StudyMismatchError(
            f'study "{study}" in {shown} is to {" and ".join(found).lower()}, the sweep file to {wanted.value}; '
            "name the study anew, or use --fresh"
        )


def check_metric(mark: Json, metric: str, *, study: str, shown: str) -> None:
    """Make sure that a study measures what the sweep is to measure.

    Raises:
        StudyMismatchError: it does not.
    """
    if mark is not None and mark["metric"] != metric:
        raise StudyMismatchError(
            f'study "{study}" in {shown} was made for {mark["metric"]}, the sweep file asks for {metric}; '
            "name the study anew, or use --fresh"
        )
