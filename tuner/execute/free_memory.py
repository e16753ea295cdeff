"""How much memory new processes may take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from tuner.execute.control_groups import MEMBERSHIP, ROOT, folders_of


def free_bytes(
    *, meminfo: Path = Path("/proc/meminfo"), root: Path = ROOT, membership: Path = MEMBERSHIP
) -> int | None:
    """What the machine has free, or less where this process's groups may have less; None where it is not known."""
    found: list[int] = []
    with suppress(OSError, ValueError, IndexError, StopIteration):
        lines = meminfo.read_text().splitlines()
        found.append(1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))))
    for group in folders_of("memory", root=root, membership=membership):
        with suppress(OSError, ValueError):  # "max" where there is no limit
            limit = int((group / "memory.max").read_text())
            found.append(max(0, limit - int((group / "memory.current").read_text())))
    return min(found, default=None)
