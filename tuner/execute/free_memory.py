"""How much memory new processes may take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def free_bytes(*, meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What the machine has free, or less where this process's group may have less; None where it is not known."""
    found: list[int] = []
    with suppress(OSError, ValueError, IndexError, StopIteration):
        lines = meminfo.read_text().splitlines()
        found.append(1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))))
    with suppress(OSError, ValueError):  # "max" where there is no limit
        limit = int((cgroup / "memory.max").read_text())
        found.append(max(0, limit - int((cgroup / "memory.current").read_text())))
    return min(found, default=None)
