"""How much memory new processes may take, and how much those of a run have."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuner.execute.control_groups import MEMBERSHIP, ROOT, counter_in, folders_of

MEMINFO = Path("/proc/meminfo")
_GROUP_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of a control group in versions 2 and 1: its limit, what it has, and of that, in `memory.stat`, copies of files that
Linux gives up where memory is wanted."""


@dataclass(frozen=True, slots=True)
class MachineMemory:
    """What Linux says of the machine's memory."""

    num_bytes: int
    free_bytes: int


def memory_of_machine(meminfo: Path = MEMINFO) -> MachineMemory | None:
    """The memory of the whole machine; None where it is not told."""
    with suppress(OSError, ValueError, LookupError):
        lines = (line.split() for line in meminfo.read_text().splitlines())
        kilobytes = {words[0].rstrip(":"): int(words[1]) for words in lines}
        return MachineMemory(1024 * kilobytes["MemTotal"], 1024 * kilobytes["MemAvailable"])
    return None


def free_bytes(*, meminfo: Path = MEMINFO, root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """What the machine has free, or less where this process's groups may have less; None where it is not known."""
    machine = memory_of_machine(meminfo)
    found = [] if machine is None else [machine.free_bytes]
    for group in folders_of("memory", root=root, membership=membership):
        for limit, taken, files in _GROUP_FILES:
            with suppress(OSError, ValueError):  # "max" where there is no limit
                allowed = int((group / limit).read_text())
                in_use = int((group / taken).read_text()) - (counter_in(group / "memory.stat", files) or 0)
                found.append(max(0, allowed - in_use))
    return min(found, default=None)


def taken_bytes(*, processes: Path = Path("/proc")) -> int | None:
    """What this process and all that it has started take, pages that several share counted once; None where it is not
    told."""
    children: dict[int, list[int]] = {}
    for entry in processes.glob("[0-9]*"):
        with suppress(OSError, ValueError, LookupError):  # it has ended
            parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(entry.name))
    family, taken = [os.getpid()], 0
    for pid in family:
        family += children.get(pid, [])
        with suppress(OSError, ValueError, LookupError):
            lines = (line.split() for line in (processes / str(pid) / "smaps_rollup").read_text().splitlines())
            taken += 1024 * sum(int(words[1]) for words in lines if words[0] == "Pss:")
    return taken or None
