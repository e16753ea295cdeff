"""Work in a process of its own, which ends with it: users' code is imported only in such processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from tuner.errors import NO_MEMORY, TunerError, memory_error_in
from tuner.execute.devices import WorkerPlace, prepare_environment
from tuner.execute.helpers import become_ordinary, helpers
from tuner.execute.lifeline import end_with_parent
from tuner.execute.scarcity import KernelKills, Scarcity, how_killed, memory_limit

T = TypeVar("T")

START_METHOD = "spawn"
"""How the process begins: with nothing of this one. Tests that look at something else fork it, to be quick."""
_LOOK_SECONDS = 0.2
"""So often it is looked at whether the process still lives."""
JOIN_SECONDS = 5.0
"""So long the process may take to end by itself when it has answered."""


def run_apart(work: Callable[..., T], place: WorkerPlace, *arguments: object) -> T:
    """What `work(*arguments)`, a function of a module, returns in a new process with the place's threads.

    The process and all that it starts are gone when this returns or raises, and when this process is killed. What it
    prints goes to the standard error, since the standard output is the command's own.

    Raises:
        KilledError: the process was killed, as the kernel does where memory ends.
        TunerError: `work` raised it, or something else, or the process died; then the message says what and how.
    """
    prepare_environment(place)
    kernel_kills = KernelKills()
    context: Any = multiprocessing.get_context(START_METHOD)
    ours, theirs = context.Pipe()
    # Not a daemon in multiprocessing's sense: those may have no children, and users' code may want some.
    process = context.Process(target=_answer, args=(theirs, work, arguments), daemon=False)
    with helpers():
        process.start()
    theirs.close()
    try:
        found = _received(ours, process, kernel_kills)
    finally:
        _end(process)
    if isinstance(found, _Failure):
        raise TunerError(found.line) from _RaisedThereError(found.story)
    if isinstance(found, TunerError):
        raise found
    answer: T = found
    return answer


class KilledError(TunerError):
    """The process was killed from outside."""

    def __init__(self, said: str, scarcity: Scarcity) -> None:
        limit = "" if scarcity.limit is None else f": {scarcity.limit.words}"
        how = how_killed(scarcity)
        super().__init__(f"{said}, {how}{limit}" if how else said)
        self.said = said
        self.scarcity = scarcity


@dataclass(frozen=True, slots=True)
class _Failure:
    """What else than a `TunerError` was raised."""

    line: str
    story: str


class _RaisedThereError(Exception):
    """Shown with `--debug`, as the cause."""


def _received(connection: Connection, process: BaseProcess, kernel_kills: KernelKills) -> Any:
    """The answer; what the process forked may hold its end of the pipe open, so an end is not awaited there alone."""
    while not connection.poll(_LOOK_SECONDS):
        if process.exitcode is not None and not connection.poll():
            raise _how_it_ended(process, kernel_kills)
    try:
        found = connection.recv()
    except (EOFError, OSError):
        process.join(JOIN_SECONDS)
        raise _how_it_ended(process, kernel_kills) from None
    process.join(JOIN_SECONDS)
    return found


def _how_it_ended(process: BaseProcess, kernel_kills: KernelKills) -> TunerError:
    code = process.exitcode
    if code is None:
        return TunerError("the process that runs your code closed its answer without one")
    if code >= 0:
        return TunerError(f"the process that runs your code ended with exit code {code}")
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    said = f"the process that runs your code was killed by {name}"
    return KilledError(said, Scarcity(kernel_kills.came(), memory_limit())) if name == "SIGKILL" else TunerError(said)


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
    os.dup2(2, 1)
    try:
        connection.send(work(*arguments))
    except TunerError as error:
        connection.send(error)
    except Exception as error:
        line = NO_MEMORY if memory_error_in(error) else f"the process that runs your code failed: {_line(error)}"
        connection.send(_Failure(line, "\n" + "".join(traceback.format_exception(error))))


def _line(error: BaseException) -> str:
    """An exception's kind, the first line of what it says, and where it was raised."""
    lines = str(error).strip().splitlines()
    said = f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{said} ({last.filename}:{last.lineno})"
