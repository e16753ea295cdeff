"""Control groups: where Linux says how much of the machine a process may use, as it does for containers."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def folders_of(controller: str, *, root: Path = ROOT, membership: Path = MEMBERSHIP) -> list[Path]:
    """The folders of this process's groups that limit something, those above them included.

    Args:
        controller: What is limited: `cpu`, `memory`.
        root: Where control groups are mounted.
        membership: Which of them this process is in.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return []
    found: list[Path] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controllers if (root / controllers).is_dir() else root / controller
        inside = Path(path.lstrip("/"))
        found += [base / folder for folder in (inside, *inside.parents)]
    return found


def counter_in(file: Path, name: str) -> int | None:
    """The number behind a name in a file of names and numbers, such as `memory.stat`; None where none is told."""
    with suppress(OSError, ValueError):
        counters = dict(line.split(maxsplit=1) for line in file.read_text().splitlines())
        return int(counters[name]) if name in counters else None
    return None
