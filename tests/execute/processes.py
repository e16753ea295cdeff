"""What processes there are, from `/proc`, and how one of them stands."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from tuner.errors import SweepFileError
from tuner.execute.signals import ENDING


def group(leader: int) -> list[int]:
    """The processes of a process group that are alive, zombies left out."""
    return [pid for pid, (state, _, pgid) in _all().items() if pgid == leader and state != "Z"]


def zombies(parent: int) -> list[int]:
    """The children of a process that have died and were not waited for."""
    return [pid for pid, (state, ppid, _) in _all().items() if ppid == parent and state == "Z"]


def children(parent: int) -> list[int]:
    """The children of a process that are alive, the oldest first."""
    return sorted(pid for pid, (state, ppid, _) in _all().items() if ppid == parent and state != "Z")


def marked(variable: str) -> list[int]:
    """The processes that are alive and began with this `NAME=value` in their environment."""
    return [pid for pid, (state, _, _) in _all().items() if state != "Z" and variable.encode() in _environment(pid)]


def at_home(folder: Path) -> list[int]:
    """The processes that are alive and whose current folder this is."""
    return [pid for pid, (state, _, _) in _all().items() if state != "Z" and _current_folder(pid) == str(folder)]


def descendants(ancestor: int) -> list[int]:
    """The processes that are alive and that a process started, or one of those that it started."""
    parents = {pid: parent for pid, (state, parent, _) in _all().items() if state != "Z"}
    found, more = [], [ancestor]
    while more := [pid for pid, parent in parents.items() if parent in more]:
        found += more
    return found


def state_of(pid: int) -> str:
    """How a process stands, `T` if it is stopped; empty if there is none, or it has died."""
    state, *_ = _all().get(pid, ("", 0, 0))
    return "" if state == "Z" else state


def is_fork_server(pid: int) -> bool:
    """Whether it is the process that workers are forked from, by its command line, or its name if it is a fork."""
    try:
        said = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "comm")]
    except OSError:
        return False
    return any(b"forkserver" in one for one in said)


def _current_folder(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:  # it has ended, or is another user's
        return ""


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is another user's
        return []


def parent_of(pid: int) -> int:
    return _all()[pid][1]


def eventually(condition: Callable[[], bool], *, seconds: float = 180.0) -> bool:
    """Whether a condition comes true; the time is so long that only what never comes true uses it up."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _all() -> dict[int, tuple[str, int, int]]:
    """(state, parent, process group) by process id."""
    found: dict[int, tuple[str, int, int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:
                continue
            state, ppid, pgid, *_ = stat.rpartition(")")[2].split()
            found[int(entry.name)] = (state, int(ppid), int(pgid))
    return found


def surroundings() -> tuple[bool, str, set[int]]:
    """What a process that users' code starts would inherit, or be refused."""
    daemon = multiprocessing.current_process().daemon
    ignored = {number for number in ENDING if signal.getsignal(number) is signal.SIG_IGN}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return daemon, os.environ.get("PYTHONSAFEPATH", ""), ignored | {int(number) for number in blocked}


def leave_a_child() -> str:
    """Start a program, and leave it behind; the process id of this one."""
    os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
    return str(os.getpid())


def say_and_sleep(said: str) -> None:
    """Start a program, write the id of this process to a file, and sleep until killed."""
    os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "600")
    path = Path(said)
    path.with_suffix(".part").write_text(str(os.getpid()))
    path.with_suffix(".part").rename(path)
    time.sleep(600)


def break_down() -> None:
    raise KeyError("a key")


def want_memory() -> None:
    raise MemoryError


def end_at_once() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse_a_sweep() -> None:
    raise SweepFileError(["a: one", "b: two"])


def leave_a_fork() -> None:
    """End, while a copy of this process holds on to all that it had open."""
    if os.fork() == 0:
        time.sleep(600)
    os._exit(4)
