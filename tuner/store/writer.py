"""A thread that writes what changed, so that the loop which steers training never waits for a disk.

Changes are states, not commands: for each trial only its newest record is kept, and the database works out what is
different. So a write can be tried again after any failure, and nothing is written twice.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from tuner.errors import StorageError
from tuner.faults import fault_point
from tuner.records import TrialRecord
from tuner.store.causes import DatabaseGoneError, cause_of, root_of
from tuner.store.database import Database
from tuner.store.lease import BEAT_SECONDS
from tuner.store.locations import hide_passwords
from tuner.store.pending import PendingFolder
from tuner.store.sqlite_file import explain

Result = TypeVar("Result")

_DELAY_SECONDS = 0.5
"""How long a change waits for others to join its transaction."""
_PROGRESS_DELAY_SECONDS = 2.0
"""The same for a change that only says that more epochs have finished."""
PATIENCE_SECONDS = 60.0
"""How long a locked database, or a server that is gone, is tried again."""

_log = logging.getLogger("tuner.store")


class Writer:
    """Writes records and facts to a database in the background; the newest of each counts."""

    def __init__(self, database: Database, *, pending: PendingFolder, shown: str) -> None:
        self._database = database
        self._pending = pending
        self._shown = shown
        self._wake = threading.Condition()
        self._records: dict[int, TrialRecord] = {}
        self._facts: dict[str, str] = {}
        self._due = float("inf")
        self._writing = False
        self._closing = False
        self._failure: StorageError | None = None
        self._has_room = pending.reserve()
        self._thread = threading.Thread(target=self._run, name="tuner-store", daemon=True)
        self._thread.start()

    def put(self, *records: TrialRecord, progress_only: bool = False) -> None:
        """Queue records, for one transaction.

        Raises:
            StorageError: an earlier one could not be written; the next `flush` keeps this one, too.
        """
        with self._wake:
            self._records |= {record.number: record for record in records}
            self._schedule(_PROGRESS_DELAY_SECONDS if progress_only else _DELAY_SECONDS)
            if self._failure is not None:
                raise self._failure

    def put_fact(self, key: str, text: str) -> None:
        """Queue a fact of the study; raises as `put` does."""
        with self._wake:
            self._facts[key] = text
            self._schedule(_DELAY_SECONDS)
            if self._failure is not None:
                raise self._failure

    def flush(self) -> None:
        """Wait until all that was queued is durable.

        Raises:
            StorageError: it cannot be written; it is kept in the folder of pending changes.
        """
        with self._wake:
            if self._records or self._facts:
                self._schedule(0.0)
            while self._failure is None and (self._records or self._facts or self._writing):
                self._wake.wait()
            if self._failure is not None:
                if not isinstance(self._failure, DatabaseGoneError):
                    self._pending.keep(self._records, self._facts)
                raise self._failure

    def close(self) -> None:
        """Write what is queued, end the thread, give the lease back.

        Raises:
            StorageError: what is queued cannot be written.
        """
        try:
            self.flush()
        finally:
            with self._wake:
                self._closing = True
                self._wake.notify_all()
            self._thread.join()

    def _schedule(self, delay_seconds: float) -> None:
        due = time.monotonic() + delay_seconds
        if due < self._due:
            self._due = due
            self._wake.notify_all()

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                self._write()
            if self._failure is None:
                self._database.release()
        except BaseException as error:
            self._fail(error)
        finally:
            if self._has_room:
                self._pending.give_back()
            self._database.close()

    def _wait_for_work(self) -> bool:
        """Wait until something is due, or a sign of life is; False when there is nothing more to do."""
        with self._wake:
            beat = time.monotonic() + BEAT_SECONDS
            while not self._closing and (now := time.monotonic()) < min(self._due, beat):
                self._wake.wait(min(self._due, beat) - now)
            return self._failure is None and not (self._closing and not self._records and not self._facts)

    def _write(self) -> None:
        with self._wake:
            records, facts = self._records, self._facts
            self._records, self._facts = {}, {}
            self._due = float("inf")
            self._writing = True
        try:
            ordered = [records[number] for number in sorted(records)]
            fault_point("before_commit")
            patiently(lambda: self._database.write(ordered, facts), on_retry=self._reload, shown=self._shown)
            fault_point("after_commit")
        except Exception as error:
            with self._wake:
                self._records = {**records, **self._records}
                self._facts = {**facts, **self._facts}
            self._fail(error)
        finally:
            with self._wake:
                self._writing = False
                self._wake.notify_all()

    def _reload(self) -> None:
        # Whether the transaction that failed was carried out is unknown when its connection broke.
        self._database.load()

    def _fail(self, error: BaseException) -> None:
        with suppress(Exception):
            self._database.close()  # on a full disk, this makes room: SQLite's write-ahead log is removed
        with self._wake:
            is_gone = isinstance(error, DatabaseGoneError)
            kept = "; what was not written yet could not be kept either"
            with suppress(Exception):  # whoever waits for this thread must hear of its end in any case
                kept = "" if is_gone else self._pending.keep(self._records, self._facts)
            self._failure = as_storage_error(error, shown=self._shown, note=kept)
            self._failure.__cause__ = error
            self._wake.notify_all()


def patiently(
    call: Callable[[], Result],
    *,
    shown: str,
    on_busy: Callable[[], object] = lambda: None,
    on_retry: Callable[[], object] = lambda: None,
) -> Result:
    """Call until the database is not busy, for up to `PATIENCE_SECONDS`; warns once in the log.

    Args:
        call: What to do.
        shown: The database, for messages.
        on_busy: Called once if it is busy; may know that there is nothing to wait for, and raise.
        on_retry: Called before each further attempt.

    Raises:
        Exception: what the last call raised.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause, retrying = 0.05, False
    while True:
        try:
            if retrying:
                on_retry()
            return call()
        except StorageError:
            raise
        except Exception as error:
            if cause_of(error) != "busy":
                raise
            if not retrying:
                on_busy()
            if time.monotonic() + pause > deadline:
                raise
            if not retrying:
                _log.warning(
                    "%s cannot be written now (%s); trying for %.0f s", shown, _first_line(error), PATIENCE_SECONDS
                )
            retrying = True
            time.sleep(pause * (0.5 + random.random()))
            pause = min(2 * pause, 2.0)


def as_storage_error(error: BaseException, *, shown: str, note: str = "") -> StorageError:
    """The error that a user sees: the database, the cause, and what became of the results."""
    if isinstance(error, StorageError):
        return type(error)(f"{error}{note}")
    return StorageError(f"{hide_passwords(explain(shown, root_of(error)))}{note}")


def _first_line(error: BaseException) -> str:
    return hide_passwords(str(root_of(error)).strip().splitlines()[0]) if str(root_of(error)) else type(error).__name__
