"""What is said where memory ends: how much there is, who sets the limit, and what takes less."""

from __future__ import annotations

import math
import os
import re
import resource
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuner.execute.control_groups import MEMBERSHIP, ROOT, folders_of
from tuner.spec.model import SweepSpec

_GB = 1e9
_MEMINFO = Path("/proc/meminfo")
_ALLOCATION = re.compile(r"can't allocate memory: you tried to allocate (\d+) bytes")
"""In what PyTorch says on a CPU."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The memory that may be used, and what sets it."""

    num_bytes: float
    words: str


def memory_limit(*, root: Path = ROOT, membership: Path = MEMBERSHIP, meminfo: Path = _MEMINFO) -> MemoryLimit | None:
    """The lowest of the limits of a process, of its container, and of the machine; None where none is told.

    Args:
        root: Where control groups are mounted.
        membership: Which of them this process is in.
        meminfo: What Linux says of the machine's memory.
    """
    found = []
    for name, option in (("RLIMIT_AS", "v"), ("RLIMIT_DATA", "d")):
        soft = resource.getrlimit(getattr(resource, name))[0]
        if soft != resource.RLIM_INFINITY:
            found.append(MemoryLimit(soft, f"`ulimit -{option}` allows each process {_shown(soft)}"))
    groups = [_number(folder / file) for folder in folders_of("memory", root=root, membership=membership)
              for file in ("memory.max", "memory.limit_in_bytes")]  # fmt: skip
    allowed = min((number for number in groups if number is not None), default=math.inf)
    machine = _of_machine(meminfo)
    if machine is not None:
        found.append(machine)
    if allowed < (machine.num_bytes if machine else math.inf):  # a group without a limit has an enormous one
        found.append(MemoryLimit(allowed, f"the container (its control group) has {_shown(allowed)}"))
    return min(found, key=lambda limit: limit.num_bytes, default=None)


def _of_machine(meminfo: Path) -> MemoryLimit | None:
    with suppress(OSError, ValueError, KeyError):
        lines = (line.split() for line in meminfo.read_text().splitlines())
        kilobytes = {words[0].rstrip(":"): int(words[1]) for words in lines}
        total, free = (1024 * kilobytes[name] for name in ("MemTotal", "MemAvailable"))
        return MemoryLimit(total, f"this machine has {_shown(total)}, of which {_shown(free)} are free now")
    return None


def no_memory_to_load(spec: SweepSpec, *, num_workers: int, cause: str = "") -> str:
    """What is said where the data do not fit.

    Args:
        spec: The sweep file.
        num_workers: That each load them.
        cause: How it was noticed, if that is not plain.
    """
    workers = f" in each of {num_workers} workers" if num_workers > 1 else ""
    cause = f" ({cause})" if cause else ""
    return _line(
        f"there is not enough memory to load {spec.data.source}{_size(spec)}{workers}{cause}",
        [
            *(["--workers 1"] if num_workers > 1 else []),
            *([] if spec.data.stream else ["data.stream: true, which leaves the examples on disk"]),
            "smaller images, if they are images (data.image_size)",
        ],
    )


def no_memory_to_train(spec: SweepSpec, *, said: str) -> str:
    """What is said of a trial for which memory did not suffice.

    Args:
        spec: The sweep file.
        said: The error.
    """
    return _line(
        f"there is not enough memory to train it on {spec.data.source}{_size(spec)} ({said})",
        ["a smaller batch_size or network", "smaller images, if they are images", "--workers 1"],
    )


def first_line(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code})"
    if (asked := _ALLOCATION.search(str(error))) is not None:
        return f"{_shown(int(asked[1]))} more were asked for in vain"
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__


def _line(what: str, remedies: Sequence[str]) -> str:
    limit = memory_limit()
    said = "" if limit is None else f": {limit.words}"
    return f"{what}{said}; what takes less: {'; '.join(remedies)}"


def _size(spec: SweepSpec) -> str:
    """The size of the source on disk, where it is there."""
    path = Path(spec.root, spec.data.source)
    with suppress(OSError):
        files = [path] if path.is_file() else [Path(f, name) for f, _, names in os.walk(path) for name in names]
        if num_bytes := sum(file.stat().st_size for file in files):
            return f", {_shown(num_bytes)} on disk,"
    return ""


def _shown(num_bytes: float) -> str:
    return f"{num_bytes / _GB:.3g} GB" if num_bytes >= _GB / 10 else f"{num_bytes / 1e6:.3g} MB"


def _number(path: Path) -> int | None:
    with suppress(OSError, ValueError):  # `max` is no number
        return int(path.read_text())
    return None
