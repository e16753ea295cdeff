"""Which CPU cores there are for this process, and which of them workers had best be pinned to."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tuner.execute.control_groups import MEMBERSHIP, ROOT, folders_of

_Topology = Mapping[int, tuple[int, int]]
"""The socket and the physical core of each CPU. Two CPUs of one physical core share its units."""


def available_cores() -> list[int]:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def num_cores() -> int:
    """So many CPUs' time this process may use: no more than a container's quota."""
    return max(1, math.floor(min(len(available_cores()), cpu_quota())))


def cores_to_pin(count: int) -> list[int] | None:
    """A CPU of its own for each of so many workers; None to leave it to the kernel.

    That is so for a single worker, for more workers than CPUs, where a quota says how much but not which, and where
    too few CPUs are left that no other process is pinned to.
    """
    cores = available_cores()
    if count < 2 or count > len(cores) or cpu_quota() < len(cores):
        return None
    free = sorted(set(cores) - taken_cores())
    return spread(free, read_topology(free))[:count] if len(free) >= count else None


def spread(cores: Collection[int], topology: _Topology) -> list[int]:
    """CPUs in the order in which to use them: sockets in turn, and second threads of physical cores last."""
    rank: dict[int, int] = {}
    threads: defaultdict[tuple[int, int], int] = defaultdict(int)
    for core in sorted(cores):
        rank[core] = threads[topology[core]]
        threads[topology[core]] += 1
    place: dict[int, int] = {}
    on_socket: defaultdict[tuple[int, int], int] = defaultdict(int)
    for core in sorted(cores):
        socket = topology[core][0]
        place[core] = on_socket[rank[core], socket]
        on_socket[rank[core], socket] += 1
    return sorted(cores, key=lambda core: (rank[core], place[core], topology[core][0]))


def taken_cores(pids: Iterable[int] | None = None) -> set[int]:
    """CPUs that a process is pinned to: a worker of another run, or another program that has been told where to run.

    Args:
        pids: The processes to look at; all if None.
    """
    if not hasattr(os, "sched_getaffinity") or not Path("/proc/self/status").exists():
        return set()
    found: set[int] = set()
    for pid in pids if pids is not None else [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]:
        with suppress(OSError):  # it has ended
            affinity = os.sched_getaffinity(pid)
            if len(affinity) == 1 and not _is_of_the_kernel(pid):
                found |= affinity
    return found


def _is_of_the_kernel(pid: int) -> bool:
    """Whether it is one of the threads that the kernel has on each CPU: it has no memory of its own."""
    return "VmSize:" not in Path(f"/proc/{pid}/status").read_text()


def read_topology(cores: Iterable[int], *, root: Path = Path("/sys/devices/system/cpu")) -> _Topology:
    """What the kernel says of these CPUs; each is a physical core of one socket where it says nothing."""
    found: dict[int, tuple[int, int]] = {}
    for core in cores:
        folder = root / f"cpu{core}" / "topology"
        try:
            found[core] = _number(folder / "physical_package_id"), _number(folder / "core_id")
        except (OSError, ValueError):
            found[core] = 0, core
    return found


def cpu_quota(*, root: Path = ROOT, membership: Path = MEMBERSHIP) -> float:
    """How many CPUs' time this process's control groups allow, those above them included; infinity without a limit.

    Args:
        root: Where control groups are mounted.
        membership: Which of them this process is in.
    """
    return min(map(_quota_of, folders_of("cpu", root=root, membership=membership)), default=math.inf)


def _quota_of(folder: Path) -> float:
    with suppress(OSError, ValueError):
        quota, period = _words(folder / "cpu.max")
        return math.inf if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):
        quota_us = _number(folder / "cpu.cfs_quota_us")
        return math.inf if quota_us < 0 else quota_us / _number(folder / "cpu.cfs_period_us")
    return math.inf


def _words(path: Path) -> Sequence[str]:
    return path.read_text().split()


def _number(path: Path) -> int:
    return int(path.read_text())
