"""A program in a process group of its own, which ends, with all that it started, when this process does."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from select import select

from tuner.errors import UserCodeError

_READ_BYTES = 2**16
_PROC = Path("/proc")


class Program:
    """A running program, and what it prints."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], *, folder: Path) -> None:
        """Start it, without a shell.

        Args:
            arguments: The program, and its arguments.
            environment: All its variables.
            folder: Where it runs.

        Raises:
            UserCodeError: it cannot be started.
        """
        lifeline, self._held = os.pipe()
        try:
            self._process = subprocess.Popen(
                arguments,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0,
                pass_fds=[lifeline],
            )
            kill_when_closed(lifeline, group=self._process.pid)
        except OSError as error:
            os.close(self._held)
            raise UserCodeError(_why_not(error, arguments[0], folder)) from error
        finally:
            os.close(lifeline)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._streams = {"output": self._process.stdout, "errors": self._process.stderr}
        for stream in self._streams.values():
            os.set_blocking(stream.fileno(), False)

    def read(self, timeout_seconds: float) -> dict[str, bytes]:
        """What it has written since the last call to standard output (`output`) and standard error (`errors`).

        Waits up to the timeout if there is nothing and it still runs.
        """
        if self.exit_code is None:
            select(list(self._streams.values()), [], [], timeout_seconds)
        found = {}
        for name, stream in list(self._streams.items()):
            with suppress(BlockingIOError):
                found[name] = os.read(stream.fileno(), _READ_BYTES)
                if not found[name]:  # it has closed this one, and may work on
                    self._streams.pop(name).close()
        return {name: text for name, text in found.items() if text}

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal that killed it."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and to all that it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    @property
    def num_bytes(self) -> int:
        """Memory of its process group; 0 where Linux does not say it."""
        return sum(_resident_bytes(int(entry.name), group=self._process.pid) for entry in _PROC.glob("[0-9]*"))

    def close(self) -> None:
        """End it, and what it left behind."""
        self.send(signal.SIGKILL)
        self._process.wait()
        for stream in self._streams.values():
            stream.close()
        os.close(self._held)


def _resident_bytes(pid: int, *, group: int) -> int:
    """Memory of a process, 0 if it is not of this group."""
    try:
        if os.getpgid(pid) == group:
            return int((_PROC / str(pid) / "statm").read_text().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        pass  # it has ended, or is another user's
    return 0


def kill_when_closed(pipe: int, *, group: int) -> None:
    """Have the kernel kill a process group when the other end of a pipe is closed, on which nothing is ever sent.

    The group has its own end open for as long as it lives. Linux only: elsewhere a program outlives a worker that is
    killed, until it next prints.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(pipe, fcntl.F_SETOWN, -group)
        fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(pipe, fcntl.F_SETFL, fcntl.fcntl(pipe, fcntl.F_GETFL) | os.O_ASYNC)


def _why_not(error: OSError, program: str, folder: Path) -> str:
    if not folder.is_dir():
        return f"folder: there is no folder {folder}"
    if isinstance(error, FileNotFoundError):
        return f"command: there is no program {program}; write its path, or install it"
    if isinstance(error, PermissionError):
        return f"command: {program} may not be executed; make it executable, or start it by its interpreter"
    return f"command: {program} cannot be started: {error}"
