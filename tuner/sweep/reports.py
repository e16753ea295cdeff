"""The reports at the end of a run: the tables, what is said of them, and then the page and its plots.

A process of its own writes them. It imports what the tables need while the last trials come to their end, so that these
are there as soon as they have ended, and no sooner, since it takes 100 MB beside them; and what ends it (a crash, too
little memory) loses no more than a picture.
"""

from __future__ import annotations

import logging
import math
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tuner.errors import StorageError
from tuner.execute.cores import num_cores
from tuner.execute.fork_server import fork_server
from tuner.execute.free_memory import free_bytes
from tuner.execute.helpers import helpers
from tuner.execute.lifeline import end_with_parent
from tuner.execute.signals import leave_to_coordinator
from tuner.paths import StudyPaths
from tuner.records import EpochResult, TrialRecord
from tuner.report.terminal import Conclusion
from tuner.store.reader import read_study
from tuner.sweep.finished import Basis, keep_conclusion
from tuner.sweep.watcher import Watcher

log = logging.getLogger(__name__)

_LEAST_FREE_BYTES = 1 << 30
"""With less memory than that, the process does not begin beside trials: its libraries take some 100 MB."""
_AHEAD_SECONDS = 10.0
"""So long before the end of a training that is among the last, or with its last epoch, the process begins; and with the
last of them where none before has taken longer."""
_MOST_DRAW = 4
"""So many processes draw figures at the same time, at most."""
APART = True
"""Whether a process of its own writes them. Tests that look at something else spare it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What is to be written."""

    paths: StudyPaths
    study: str
    url: str | None
    """Its database, if that is not `study.db` in the folder."""
    in_full: bool
    """With plots; after a signal only the tables, since whoever sent it may not wait."""
    basis: Basis | None
    """What the study stands on, if it is finished: to be noted with the reports."""


def write_all(wanted: Wanted, pool: Executor | None = None) -> Iterator[Conclusion]:
    """Write the reports of what is stored: yields what is to be said as soon as the tables are there.

    The figures are drawn in a pool of processes, if there is one.

    Raises:
        StorageError: they cannot be written.
    """
    from tuner.report import write

    study = read_study(wanted.paths, study=wanted.study, url=wanted.url, with_rungs=False)
    try:
        analysis = write.write_tables(study, wanted.paths)
        conclusion = Conclusion.of(analysis)
        yield conclusion
        if wanted.in_full:
            write.write_drawings(analysis, wanted.paths, pool)
        if wanted.basis is not None:
            keep_conclusion(conclusion, wanted.basis, study, wanted.paths)
    except OSError as error:
        raise StorageError(
            f"the reports cannot be written: {error}; all results are stored, and the same command writes them"
        ) from error


class Reports(Watcher):
    """The process that writes the reports of a run; begun when the last training is near its end."""

    def __init__(self) -> None:
        self._trainings: float = math.inf
        self._last_is_under_way = False
        self._longest_seconds: float | None = None
        """Of the trainings that have ended, if one has."""
        self._process: Any = None
        self._connection: Connection | None = None

    def expect(self, trainings: int) -> None:
        """What is trained from now on is the last of the run: it has so many trials."""
        self._trainings = trainings

    def started(self, records: Sequence[TrialRecord]) -> None:
        self._last_is_under_way |= any(record.number + 1 >= self._trainings for record in records)
        if self._last_is_under_way and self._longest_seconds is not None and self._longest_seconds <= _AHEAD_SECONDS:
            self.begin()
        self._begin_if_near(records)

    def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        self._begin_if_near([record])

    def ended(self, record: TrialRecord) -> None:
        self._longest_seconds = max(self._longest_seconds or 0.0, record.seconds)
        if self._last_is_under_way:
            self.begin()

    def _begin_if_near(self, records: Sequence[TrialRecord]) -> None:
        if self._last_is_under_way and any(_is_near_its_end(record) for record in records):
            self.begin()

    def begin(self) -> None:
        """Have the process import what it needs, if it has not begun yet."""
        free = free_bytes()
        if self._process is not None or not APART or (free is not None and free < _LEAST_FREE_BYTES):
            return
        context = fork_server(None)  # where workers are forked here it is theirs
        ours, theirs = context.Pipe()
        # Not a daemon in multiprocessing's sense: it ends with this process by itself.
        self._process = context.Process(target=_serve, args=(theirs,), daemon=False)
        with helpers():
            self._process.start()
        theirs.close()
        self._connection = ours

    def write(self, wanted: Wanted) -> Iterator[Conclusion]:
        """See `write_all`. Where the process cannot, this one does it; without the page, if that is what has failed."""
        try:
            if self._connection is None:
                yield from write_all(wanted)
                return
            with suppress(OSError):  # it has ended: then nothing comes of it either
                self._connection.send(wanted)
            conclusion = self._received()
            yield from write_all(wanted) if conclusion is None else [conclusion]
            if conclusion is not None and self._received() is None:
                log.warning(
                    "the process that draws %s has ended (%s); all else is written, and the same command draws it",
                    wanted.paths.report_html, self._process.exitcode,
                )  # fmt: skip
        finally:
            self.close()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        if self._connection is None:
            return
        self._connection.close()
        self._connection = None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.exitcode is None:  # it may not have come to make its group yet
            self._process.kill()
        self._process.join()

    def _received(self) -> Any:
        """What the process sends; None if it has ended.

        Raises:
            StorageError: it says that the reports cannot be written.
        """
        assert self._connection is not None
        try:
            found = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(1.0)
            return None
        if isinstance(found, StorageError):
            raise found
        return found


def _is_near_its_end(record: TrialRecord) -> bool:
    left = record.to_epoch - record.epochs
    return left <= 1 or 0 < left * record.seconds <= _AHEAD_SECONDS * record.epochs


def _serve(connection: Connection) -> None:
    """What the process does, from its first line to its last."""
    os.setsid()  # its own group: Ctrl-C at a terminal reaches the coordinator alone
    leave_to_coordinator()
    end_with_parent()
    import tuner.report.write  # noqa: F401  # not what draws: by then the trials have left their memory

    wanted = connection.recv()
    fork = multiprocessing.get_context("fork")  # they have all that is imported, and what is read until then
    try:
        with ProcessPoolExecutor(min(num_cores(), _MOST_DRAW), mp_context=fork, initializer=end_with_parent) as pool:
            for conclusion in write_all(wanted, pool):
                connection.send(conclusion)
        connection.send(True)
    except StorageError as error:
        connection.send(error)
