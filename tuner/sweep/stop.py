"""How a sweep is asked to end early: by a signal, or by its time limit."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tuner.execute.signals import ENDING, handle, leave_closed_terminal, restore

ECHO_SECONDS = 1.0
"""Within so long a signal that comes again is the same one: SLURM sends it to all processes of a job, and the job's
script hands it on. Only from a keyboard is it meant twice."""


class StopRequest:
    """Set by a signal or by a time limit: the sweep checkpoints and ends."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first signal that came while trials were in training."""
        self.out_of_time = False
        self._training = False
        self._signalled = 0.0

    @property
    def requested(self) -> bool:
        return self.signal is not None or self.out_of_time

    @contextmanager
    def training(self) -> Iterator[None]:
        """Within the block there is something to save: the first signal only asks to stop."""
        self._training = True
        try:
            yield
        finally:
            self._training = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Within the block signals that end a run are heeded: a first one in training asks to stop, others end at once.

        Raises:
            SystemExit: with the exit code of the signal, where it ends the program.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def heed(number: int, frame: FrameType | None) -> None:
            now = time.monotonic()
            if number == self.signal != signal.SIGINT and now - self._signalled < ECHO_SECONDS:
                return
            if number == signal.SIGHUP:
                leave_closed_terminal()  # or else the first line to be shown would fail, and end the run
            if self._training and self.signal is None:
                self.signal, self._signalled = number, now
            else:
                raise SystemExit(128 + number)

        # `nohup` has SIGHUP ignored, and that is to stay so.
        ignored = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
        before = handle([number for number in ENDING if number not in ignored], heed)
        try:
            yield
        finally:
            restore(before)

    @contextmanager
    def after(self, seconds: float | None) -> Iterator[None]:
        """Within the block, ask to stop when so many seconds have passed."""
        if seconds is None:
            yield
            return

        def expire() -> None:
            self.out_of_time = True

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
