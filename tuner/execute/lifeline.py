"""How a process ends when the one that started it dies, whatever it is doing and however that one died."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from multiprocessing import parent_process
from multiprocessing.connection import wait

from tuner.train.own.program import kill_when_closed


def end_with_parent() -> None:
    """Have this process's group killed when the process that started it is gone, even in the middle of a long step.

    The parent holds the only other end of a pipe on which nothing is ever sent. On Linux the kernel sends the signal
    when that end is closed; elsewhere a thread waits for it.
    """
    parent = parent_process()
    assert parent is not None
    pipe = parent.sentinel
    if not hasattr(fcntl, "F_SETSIG"):
        threading.Thread(target=_end_when_closed, args=(pipe,), daemon=True).start()
        return
    kill_when_closed(pipe, group=os.getpgrp())
    if wait([pipe], 0):  # it was gone before the kernel was asked
        os.killpg(0, signal.SIGKILL)


def _end_when_closed(pipe: int) -> None:
    wait([pipe])
    os.killpg(0, signal.SIGKILL)
