"""How much memory new processes may take."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuner.execute.control_groups import MEMBERSHIP, ROOT, folders_of

MEMINFO = Path("/proc/meminfo")


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
        with suppress(OSError, ValueError):  # "max" where there is no limit
            limit = int((group / "memory.max").read_text())
            found.append(max(0, limit - int((group / "memory.current").read_text())))
    return min(found, default=None)
