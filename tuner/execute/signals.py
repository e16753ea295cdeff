"""The signals that end a run: handled in our own processes, and as usual in all that these start."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any

Handler = Callable[[int, FrameType | None], object]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
"""What asks a run to end. SLURM sends SIGUSR1 where it is asked for; a terminal that is closed sends SIGHUP."""

_handlers: dict[int, Handler] = {}
"""Ours, by signal."""


def handle(numbers: Iterable[signal.Signals], handler: Handler) -> Mapping[signal.Signals, Any]:
    """Handle signals in this process alone: children, forked ones included, heed them as any program does.

    An ignored signal would be inherited by every child, even by other programs: nothing could terminate them.

    Returns:
        The handlers before, for `restore`.
    """
    before = {number: signal.signal(number, handler) for number in numbers}
    _handlers.update(dict.fromkeys(before, handler))
    return before


def restore(before: Mapping[signal.Signals, Any]) -> None:
    """Put back what `handle` returned."""
    for number, handler in before.items():
        _handlers.pop(number, None)
        signal.signal(number, handler)


def leave_to_coordinator() -> None:
    """Go on whatever signal comes: a job's end is told to all of its processes, and the coordinator sees to ours."""
    handle(ENDING, _nothing)


def leave_closed_terminal() -> None:
    """Write nowhere from now on, where standard output or errors go to a terminal, or a pipe, that is no more."""
    for number in (1, 2):
        look = select.poll()
        look.register(number, 0)
        if any(events & (select.POLLHUP | select.POLLERR) for _, events in look.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)


def _nothing(number: int, frame: FrameType | None) -> None:
    pass


_forking = threading.local()
"""The mask of a thread that forks."""


def _before_fork() -> None:
    # Or else a signal to the child could come before it has let go of our handlers, and be lost.
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, _handlers)


def _after_fork() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _as_usual() -> None:
    """In a forked child: let go of the handlers that it inherited from us."""
    for number, handler in _handlers.items():
        if signal.getsignal(number) is handler:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    _handlers.clear()
    _after_fork()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_as_usual)
