"""Standard output and error that may be closed, full, or read by nobody: it changes nothing of what a command does."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

_OUTPUT_FAILED = 5
"""Exit code where standard output could not take what it was asked for."""
_NOBODY_READS = (errno.EPIPE, errno.EIO, errno.EBADF)
"""A pipe whose reader has gone (`| head -1`), a terminal that was closed, a stream that was closed from the start."""


class Output(io.FileIO):
    """A standard stream that swallows what cannot be written, and remembers why."""

    failure: OSError | None = None

    def write(self, data: object) -> int:
        size = memoryview(data).nbytes  # type: ignore[arg-type]  # whatever `FileIO` takes
        if self.failure is None:
            try:
                return super().write(data) or 0  # type: ignore[arg-type]
            except OSError as error:
                self.failure = error
        return size


@contextmanager
def lasting_output() -> Iterator[Output]:
    """Within the block, standard output and error take everything; yields standard output."""
    _open_what_is_closed()
    outputs = {name: Output(fd, "w", closefd=False) for name, fd in (("stdout", 1), ("stderr", 2))}
    before = {name: getattr(sys, name) for name in outputs}
    for name, output in outputs.items():
        with suppress(OSError, AttributeError):
            before[name].flush()
        encoding, errors = (getattr(before[name], of, None) for of in ("encoding", "errors"))
        lines = name == "stderr" or output.isatty()
        errors = "backslashreplace" if errors == "strict" else errors  # what a terminal has no character for
        text = io.TextIOWrapper(io.BufferedWriter(output), encoding=encoding, errors=errors, line_buffering=lines)
        setattr(sys, name, text)
    try:
        yield outputs["stdout"]
    finally:
        for name, stream in before.items():
            getattr(sys, name).flush()
            setattr(sys, name, stream)


def exit_code(code: int, output: Output) -> int:
    """A command's exit code, or that of standard output if it failed where somebody may be reading."""
    failure = output.failure
    if failure is None or failure.errno in _NOBODY_READS:
        return code
    click.echo(f"error: standard output cannot be written: {failure.strerror}; nothing else was lost by it", err=True)
    return code or _OUTPUT_FAILED


def _open_what_is_closed() -> None:
    """Put nothing in the place of standard streams that are closed, or else the next file that is opened takes it."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
