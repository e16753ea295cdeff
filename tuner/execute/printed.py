"""What a worker process prints: caught at its file descriptors, C++ code and crashes included."""

from __future__ import annotations

import fcntl
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from tuner.paths import own_place

MAX_BYTES = 2**18
"""Of what is printed between two deliveries, so much is kept: the end."""


class Printed:
    """A nameless file that a worker's output goes to; the coordinator holds it too, and reads on if the worker dies."""

    def __init__(self, descriptor: int | None = None) -> None:
        if descriptor is None:
            with tempfile.TemporaryFile() as file:
                descriptor = os.dup(file.fileno())
        # Appending, all that share the file write at its end, wherever that is after it was emptied.
        fcntl.fcntl(descriptor, fcntl.F_SETFL, fcntl.fcntl(descriptor, fcntl.F_GETFL) | os.O_APPEND)
        self._descriptor = descriptor

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self._descriptor),)

    def take_over(self) -> None:
        """Send this process's standard output and errors here from now on."""
        sys.stdout.flush()
        sys.stderr.flush()
        for number in (1, 2):
            os.dup2(self._descriptor, number)
        for name, number in (("stdout", 1), ("stderr", 2)):
            stream = open(  # noqa: SIM115
                number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
            )
            setattr(sys, name, stream)

    def take(self) -> bytes:
        """What was printed since the last call, or the end of it."""
        size = os.fstat(self._descriptor).st_size
        if not size:
            return b""
        start = max(0, size - MAX_BYTES)
        text = os.pread(self._descriptor, size - start, start)
        os.ftruncate(self._descriptor, 0)
        return text if not start else b"... %d bytes are left out ...\n" % start + text

    def deliver(self, logs: Sequence[Path]) -> None:
        """Append what was printed since the last call to each of these files."""
        text = self.take()
        for log in logs:
            append(log, text)

    def close(self) -> None:
        os.close(self._descriptor)


def append(log: Path, text: bytes) -> None:
    """Append a text to a log, if there is a text; a disk that cannot take it will be told of by what matters more."""
    if text:
        with suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            with own_place(log).open("ab") as file:
                file.write(text)


def _received(duplicate: Any) -> Printed:
    return Printed(duplicate.detach())
