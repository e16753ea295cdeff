"""How processes of ours are started: without what lies in the current folder, and without the terminal's signals."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from types import ModuleType
from typing import Any

_SAFE_PATH, _OURS = "PYTHONSAFEPATH", "tuner"
_TERMINALS = {signal.SIGHUP, signal.SIGUSR1}
"""Of the signals that end a run, those that would end the resource tracker of `multiprocessing` too."""
_END_SECONDS = 5.0
"""So long a helper of `multiprocessing` may take to end by itself."""


@contextmanager
def helpers() -> Iterator[None]:
    """Within the block, Python processes that are started look for no module in the current folder.

    Python puts that folder first on the path of `python -c`, which `multiprocessing` uses: a file of the user's called
    `random.py` would end them all. `become_ordinary` undoes this in the process, before users' code runs there.
    """
    atexit.unregister(_end_helpers)
    atexit.register(_end_helpers)
    is_ours = os.environ.setdefault(_SAFE_PATH, _OURS) == _OURS
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TERMINALS)
    try:
        with without_main():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if is_ours:
            del os.environ[_SAFE_PATH]


@contextmanager
def without_main() -> Iterator[None]:
    """Within the block, processes that are started do not run the main program's file once more.

    `multiprocessing` has each new process import it. A script that calls `tuner.run` at its top would begin its
    sweep again in every worker.
    """
    before = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = before


def become_ordinary() -> None:
    """In a process that was started so: let what it starts in turn be as any other."""
    if os.environ.get(_SAFE_PATH) == _OURS:
        del os.environ[_SAFE_PATH]
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _TERMINALS)


def _end_helpers() -> None:
    """Wait until the processes of `multiprocessing` itself are gone: by themselves they end after this one."""
    server: Any = getattr(forkserver, "_forkserver", None)
    tracker: Any = getattr(resource_tracker, "_resource_tracker", None)
    _end(server, "_forkserver_pid", "_forkserver_alive_fd")
    _end(tracker, "_pid", "_fd")


def _end(helper: Any, pid_name: str, pipe_name: str) -> None:
    """End a helper by closing the pipe that it lives by; kill it if somebody else holds that open."""
    pid, pipe = getattr(helper, pid_name, None), getattr(helper, pipe_name, None)
    if pid is None or pipe is None:
        return
    setattr(helper, pid_name, None)
    setattr(helper, pipe_name, None)
    os.close(pipe)
    deadline = time.monotonic() + _END_SECONDS
    with suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return
            time.sleep(0.002)
