"""Work in a process of its own, which ends with it: users' code is imported only in such processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import TypeVar

from tuner.errors import TunerError
from tuner.execute.devices import WorkerPlace
from tuner.execute.numeric import set_numeric_environment

T = TypeVar("T")


def run_apart(work: Callable[..., T], place: WorkerPlace, *arguments: object) -> T:
    """What `work(*arguments)`, a function of a module, returns in a new process with the place's threads.

    Raises:
        TunerError: `work` raised it, or the process died; then the message says how.
    """
    set_numeric_environment(place.threads)
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, work, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        found = ours.recv()
    except EOFError:
        process.join()
        raise TunerError(f"the checking process ended with exit code {process.exitcode}") from None
    process.join()
    if isinstance(found, TunerError):
        raise found
    answer: T = found
    return answer


def _answer(connection: Connection, work: Callable[..., object], arguments: tuple[object, ...]) -> None:
    try:
        connection.send(work(*arguments))
    except TunerError as error:
        connection.send(error)
