"""What runs in a tracker's process: it answers each message that comes."""

from __future__ import annotations

import os
import signal
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, cast

from tuner.imports import load_object
from tuner.paths import StudyPaths
from tuner.track.told import TellTracker
from tuner.track.tracker import Tracker

_NICENESS = 5
_LOOK_SECONDS = 1.0
_LAST_SECONDS = 10.0
"""So long a tracker may take to come to an end after whoever started it is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Begin:
    """The first message: which tracker of which study."""

    place: str
    """`package.module:Class`, or `path/to/file.py:Class`."""
    root: str
    """Folder that such a path starts at."""
    study: str
    paths: StudyPaths
    folder: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """To a message."""

    error: str = ""
    """Why it was in vain; empty if it was not."""
    where: str = ""
    """Where people see what is tracked, once it is known."""


def main(descriptor: int) -> None:
    """Serve until the other end says that it is over, or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, lambda *_: None)  # the end of a job is told to all of its processes; the run says when
    os.nice(_NICENESS)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    connection: Connection[Any, Any] = Connection(descriptor)
    tell: TellTracker | None = None
    with suppress(EOFError, OSError):
        while (message := connection.recv()) is not None:
            error = ""
            try:
                if isinstance(message, Begin):
                    tell = _made(message)
                elif tell is None:
                    raise RuntimeError("it could not be made")
                else:
                    verb, arguments, named = message
                    getattr(tell, verb)(*arguments, **named)
            except Exception as found:
                error = f"{type(found).__name__}: {found}".strip().splitlines()[0]
                traceback.print_exc()
            connection.send(Answer(error=error, where=tell.where if tell else ""))
    if tell is not None:
        tell.close()


def _made(begin: Begin) -> TellTracker:
    make = cast(type[Tracker], load_object(begin.place, root=Path(begin.root)))
    return TellTracker(make(begin.study, begin.paths, folder=begin.folder))


def _end_with(parent: int) -> None:
    """End this process, and what the tracker has started, some time after the run is gone, whatever it is doing."""
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    time.sleep(_LAST_SECONDS)
    os.killpg(0, signal.SIGKILL)
