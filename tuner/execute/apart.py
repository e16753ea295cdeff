"""Work in a process of its own, which ends with it: users' code is imported only in such processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import TypeVar

from tuner.errors import TunerError
from tuner.execute.devices import WorkerPlace, prepare_environment
from tuner.execute.helpers import become_ordinary, helpers
from tuner.execute.lifeline import end_with_parent

T = TypeVar("T")

JOIN_SECONDS = 5.0
"""So long the process may take to end by itself when it has answered."""


def run_apart(work: Callable[..., T], place: WorkerPlace, *arguments: object) -> T:
    """What `work(*arguments)`, a function of a module, returns in a new process with the place's threads.

    The process and all that it starts are gone when this returns or raises, and when this process is killed.

    Raises:
        TunerError: `work` raised it, or the process died; then the message says how.
    """
    prepare_environment(place)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    # Not a daemon in multiprocessing's sense: those may have no children, and users' code may want some.
    process = context.Process(target=_answer, args=(theirs, work, arguments), daemon=False)
    with helpers():
        process.start()
    theirs.close()
    try:
        found = ours.recv()
        process.join(JOIN_SECONDS)
    except EOFError:
        process.join(JOIN_SECONDS)
        raise TunerError(f"the process that runs your code ended with exit code {process.exitcode}") from None
    finally:
        _end(process)
    if isinstance(found, TunerError):
        raise found
    answer: T = found
    return answer


def _end(process: BaseProcess) -> None:
    assert process.pid is not None
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.exitcode is None:  # it may not have come to make its group yet
        process.kill()
    process.join()


def _answer(connection: Connection, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    os.setsid()  # its own group: its children end with it
    end_with_parent()
    become_ordinary()
    multiprocessing.set_start_method(None, force=True)
    try:
        connection.send(work(*arguments))
    except TunerError as error:
        connection.send(error)
