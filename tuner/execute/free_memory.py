"""How much memory new processes may take."""

from __future__ import annotations

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
