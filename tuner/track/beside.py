"""The process of a tracker, as the run sees it: a listener that never waits."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, TypeAlias

from tuner.imports import require_installed
from tuner.paths import StudyPaths, own_place
from tuner.records import Direction, EpochResult, TrialRecord
from tuner.spec.known.trackers import TRACKERS
from tuner.spec.model import SweepSpec
from tuner.sweep.watcher import Watcher, Watchers
from tuner.track.process import Answer, Begin

log = logging.getLogger(__name__)

_MOST_WAITING = 100_000
"""Epochs that wait for a tracker; those that come when there are so many are dropped."""
_SILENT_SECONDS = 60.0
"""A tracker that has not answered for so long is warned of."""
_LAST_SECONDS = 60.0
_LAST_SILENT_SECONDS = 30.0
"""At the end a tracker may take so long in all, and so long without an answer."""
_AT_ONCE_SECONDS = 5.0
"""The same where a signal ends the run."""

_PROGRAM = "import sys; from tuner.track.process import main; main(int(sys.argv[1]))"
"""Not `-m`, with which what it sends would be of a module that is not there at this end."""

_Verb: TypeAlias = tuple[str, tuple[Any, ...], dict[str, Any]]


@dataclass(slots=True)
class _Epochs:
    """Of one trial, all that wait."""

    record: TrialRecord
    results: list[EpochResult]


class TrackerBeside(Watcher):
    """Hands what it hears to a process, from a thread that alone waits for answers."""

    def __init__(self, name: str, begin: Begin, *, say: Callable[[str], None]) -> None:
        """
        Args:
            name: What the tracker is called in messages.
            begin: What it is.
            say: Is told where it can be seen.
        """
        self._name = name
        self._begin = begin
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._changed = threading.Condition()
        self._waiting: deque[Begin | _Verb | _Epochs] = deque()
        self._last_epochs: dict[tuple[str, int], _Epochs] = {}
        """What waits of a trial, by its tier and number, where nothing else of it came since."""
        self._epochs_waiting = 0
        self._dropped = 0
        self._asked = 0.0
        """When what is not answered yet was sent; 0 if there is nothing."""
        self._is_over = self._is_closed = self._has_failed = self._was_warned = self._was_seen = False
        self._thread = threading.Thread(target=self._hand_over, name=f"tracker {name}", daemon=True)

    def opened(self, records: Sequence[TrialRecord], *, metric: str, direction: Direction) -> None:
        if self._process is None:
            self._start()
        self._put("opened", (), metric=metric, direction=direction)
        for record in records:
            if record.state.final:
                self.ended(record)

    def started(self, records: Sequence[TrialRecord]) -> None:
        for record in records:
            self._put("started", (record,))

    def epochs(self, record: TrialRecord, results: Sequence[EpochResult]) -> None:
        with self._changed:
            if self._has_failed or self._epochs_waiting >= _MOST_WAITING:
                self._dropped += len(results)
                return
            key = record.tier, record.number
            if key not in self._last_epochs:
                self._last_epochs[key] = _Epochs(record, [])
                self._waiting.append(self._last_epochs[key])
            self._last_epochs[key].record = record
            self._last_epochs[key].results += results
            self._epochs_waiting += len(results)
            self._changed.notify()
        self._look_whether_it_hangs()

    def ended(self, record: TrialRecord) -> None:
        with self._changed:
            self._last_epochs.pop((record.tier, record.number), None)
        self._put("ended", record)

    def conclude(self, *, complete: bool, best: TrialRecord | None, at_once: bool) -> None:
        """Let it come to its end, within limits, and warn of what was lost.

        Args:
            complete: Whether the sweep is done, and its reports are written.
            best: Its final choice then.
            at_once: Whether whoever ended the run may not wait.
        """
        if self._process is None:
            return
        if complete:
            self._put("finished", best)
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self._wait(_AT_ONCE_SECONDS if at_once else _LAST_SECONDS)
        with self._changed:
            self._drop_all()
        if self._dropped:
            log.warning(
                "%s: %d events were dropped; what is missing of trials that have ended is made up for by the next run",
                self._name, self._dropped,
            )  # fmt: skip

    def close(self) -> None:
        """End its process, whatever it is doing."""
        if self._process is not None:
            self._is_closed = True
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            self._connection.close()

    def _start(self) -> None:
        self._connection, theirs = Pipe()
        own_place(self._begin.folder).mkdir(parents=True, exist_ok=True)
        with theirs, own_place(self._begin.folder / "log.txt").open("ab") as output:
            # -P: what lies in the current folder is no module that it looks for.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, pass_fds=[theirs.fileno()],
                start_new_session=True,
            )  # fmt: skip
        self._waiting.append(self._begin)
        self._thread.start()

    def _put(self, verb: str, *arguments: object, **named: object) -> None:
        with self._changed:
            if self._has_failed:
                self._dropped += 1
                return
            self._waiting.append((verb, arguments, named))
            self._changed.notify()
        self._look_whether_it_hangs()

    def _look_whether_it_hangs(self) -> None:
        silent = time.monotonic() - self._asked if self._asked else 0.0
        if silent > _SILENT_SECONDS:
            self._warn(f"has not answered for {silent:.0f} s; the sweep goes on without waiting for it")

    def _drop_all(self) -> None:
        self._dropped += sum(len(m.results) if isinstance(m, _Epochs) else 1 for m in self._waiting)
        self._waiting.clear()
        self._last_epochs.clear()

    def _hand_over(self) -> None:
        """Send what waits, and wait for answers: in a thread of its own."""
        process = self._process
        assert process is not None
        try:
            while (message := self._next()) is not None:
                num_events = len(message.results) if isinstance(message, _Epochs) else 1
                if isinstance(message, _Epochs):
                    message = ("epochs", (message.record, message.results), {})
                self._asked = time.monotonic()
                self._connection.send(message)
                answer: Answer = self._connection.recv()
                self._asked = 0.0
                self._take(answer, num_events)
            self._asked = time.monotonic()
            self._connection.send(None)
            process.wait()
        except Exception:  # it is gone, or what it sends is no answer
            with self._changed:
                self._has_failed = True
                self._dropped += 1
                self._drop_all()
            if not self._is_closed:
                self._warn("has ended; the sweep goes on without it")

    def _next(self) -> Begin | _Verb | _Epochs | None:
        """The next message, once there is one; None when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_over)
            if not self._waiting:
                return None
            message = self._waiting.popleft()
            if isinstance(message, _Epochs):
                self._last_epochs.pop((message.record.tier, message.record.number), None)
                self._epochs_waiting -= len(message.results)
            return message

    def _take(self, answer: Answer, num_events: int) -> None:
        if answer.error:
            self._dropped += num_events
            self._warn(f"failed; the sweep goes on without waiting for it: {answer.error}")
        if answer.where and not self._was_seen:
            self._was_seen = True
            self._say(f"{self._name}: {answer.where}")

    def _wait(self, seconds: float) -> None:
        """Wait for the thread, as long as answers come."""
        began = time.monotonic()
        while self._thread.is_alive() and time.monotonic() - began < seconds:
            if self._asked and time.monotonic() - self._asked > min(seconds, _LAST_SILENT_SECONDS):
                break
            self._thread.join(0.05)
        if self._thread.is_alive():
            waited = time.monotonic() - began
            self._warn(f"did not come to its end within {waited:.0f} s, and is left behind")

    def _warn(self, what: str) -> None:
        """Warn once; the rest is in its log."""
        if not self._was_warned:
            self._was_warned = True
            log.warning("%s %s (see %s)", self._name, what, self._begin.folder / "log.txt")


class Trackers(Watchers):
    """All trackers of a run."""

    def __init__(self, trackers: Sequence[TrackerBeside]) -> None:
        super().__init__(trackers)
        self._trackers = trackers

    def conclude(self, *, complete: bool = False, best: TrialRecord | None = None, at_once: bool) -> None:
        """Let all of them come to their end, at the same time."""
        said = {"complete": complete, "best": best, "at_once": at_once}
        threads = [threading.Thread(target=tracker.conclude, kwargs=said) for tracker in self._trackers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


@contextmanager
def open_trackers(spec: SweepSpec, paths: StudyPaths, *, say: Callable[[str], None]) -> Iterator[Trackers]:
    """The trackers that a sweep names. Their processes start when its study is there, and end with the block.

    Args:
        spec: The sweep.
        paths: Of its study.
        say: Is told where each can be seen.

    Raises:
        MissingExtraError: what one of them needs is not installed.
    """
    made = []
    for name in spec.track:
        known = TRACKERS.get(name)
        if known is not None:
            require_installed(known.package, extra=name)
        place = name if known is None else known.place
        begin = Begin(
            place=place, root=spec.root, study=spec.study, paths=paths, folder=paths.tracker(_folder_name(name))
        )
        made.append(TrackerBeside(name, begin, say=say))
    try:
        yield Trackers(made)
    finally:
        for tracker in made:
            tracker.close()


def _folder_name(name: str) -> str:
    """A tracker of the user's is called as its class is."""
    return Path(name.rpartition(":")[2]).name
