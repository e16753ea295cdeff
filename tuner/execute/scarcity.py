"""What is said where memory ends: how much there is, who sets the limit, and what takes less."""

from __future__ import annotations

import math
import os
import re
import resource
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tuner.execute.control_groups import MEMBERSHIP, ROOT, counter_in, folders_of
from tuner.execute.free_memory import MEMINFO, memory_of_machine
from tuner.spec.model import SweepSpec

_GB = 1e9
_VMSTAT = Path("/proc/vmstat")
_ALLOCATION = re.compile(r"can't allocate memory: you tried to allocate (\d+) bytes")
"""In what PyTorch says on a CPU."""
_SMALLER = "a smaller batch_size or network"
_TOGETHER_SECONDS = 2.0
"""Within so long of each other processes are taken to be killed for one reason."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The memory that may be used, and what sets it."""

    num_bytes: float
    words: str
    of_each: bool = False
    """Whether each process has its own, so that fewer of them leave no more for one."""


def memory_limit(*, root: Path = ROOT, membership: Path = MEMBERSHIP, meminfo: Path = MEMINFO) -> MemoryLimit | None:
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
            found.append(MemoryLimit(soft, f"`ulimit -{option}` allows each process {_shown(soft)}", of_each=True))
    groups = [_number(folder / file) for folder in folders_of("memory", root=root, membership=membership)
              for file in ("memory.max", "memory.limit_in_bytes")]  # fmt: skip
    allowed = min((number for number in groups if number is not None), default=math.inf)
    if (machine := memory_of_machine(meminfo)) is not None:
        total, free = _shown(machine.num_bytes), _shown(machine.free_bytes)
        found.append(MemoryLimit(machine.num_bytes, f"this machine has {total}, of which {free} are free now"))
    if allowed < (machine.num_bytes if machine else math.inf):  # a group without a limit has an enormous one
        found.append(MemoryLimit(allowed, f"the container (its control group) has {_shown(allowed)}"))
    return min(found, key=lambda limit: limit.num_bytes, default=None)


class KernelKills:
    """Notices whether the kernel kills processes for want of memory."""

    def __init__(
        self, *, root: Path = ROOT, membership: Path = MEMBERSHIP, vmstat: Path = _VMSTAT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Begin to count; see `memory_limit`.

        Args:
            root: Where control groups are mounted.
            membership: Which of them this process is in.
            vmstat: What Linux has counted on the whole machine.
            clock: In seconds.
        """
        self._clock = clock
        self._noticed_at = -math.inf
        folders = folders_of("memory", root=root, membership=membership)
        self._files = [
            vmstat,
            *(folder / name for folder in folders for name in ("memory.events", "memory.oom_control")),
        ]
        self._before = self._counted()

    def came(self) -> bool | None:
        """Whether it has killed any since it was last asked, or just before; None where it does not tell."""
        before, self._before = self._before, self._counted()
        if any(count > before.get(file, 0) for file, count in self._before.items()):
            self._noticed_at = self._clock()
        return self._clock() - self._noticed_at < _TOGETHER_SECONDS if self._before else None

    def _counted(self) -> dict[Path, int]:
        return {file: count for file in self._files if (count := counter_in(file, "oom_kill")) is not None}


@dataclass(frozen=True, slots=True)
class Scarcity:
    """What a machine tells of its memory once a process there has been killed."""

    by_kernel: bool | None = None
    """Whether its kernel has killed any for want of memory; None where that is not known."""
    limit: MemoryLimit | None = None


def no_memory_to_load(spec: SweepSpec, *, num_workers: int, limit: MemoryLimit | None, cause: str = "") -> str:
    """What is said where the data do not fit.

    Args:
        spec: The sweep file.
        num_workers: That each load them, on the machine.
        limit: Of the memory there.
        cause: How it was noticed, if that is not plain.
    """
    workers = f" in each of {num_workers} workers" if num_workers > 1 else ""
    cause = f" ({cause})" if cause else ""
    return _line(
        f"there is not enough memory to load {spec.data.source}{_size(spec)}{workers}{cause}",
        [
            *(["--workers 1"] if num_workers > 1 and not _is_of_each(limit) else []),
            *_with_less(spec, streamed=True),
        ],
        limit,
    )


def no_memory_to_train(spec: SweepSpec, *, said: str) -> str:
    """What is said of a trial for which memory did not suffice.

    Args:
        spec: The sweep file.
        said: The error.
    """
    limit = memory_limit()
    return _line(
        f"there is not enough memory to train it on {spec.data.source}{_size(spec)} ({said})",
        what_takes_less(spec, several=not _is_of_each(limit), loads=False),
        limit,
    )


def killed_in_training(spec: SweepSpec, *, num_workers: int, said: str, scarcity: Scarcity, loads: bool = False) -> str:
    """What is said of a worker that was killed while it trained.

    Args:
        spec: The sweep file.
        num_workers: That train beside each other, on its machine.
        said: How it ended.
        scarcity: Of memory on its machine.
        loads: Whether it may have been loading, too.
    """
    if scarcity.by_kernel is False:
        return said
    how = how_killed(scarcity)
    on = f"on {spec.data.source}{_size(spec)} " if spec.has_data else ""
    what = f"{said}, {how}, {on}with {num_workers} worker{'s' * (num_workers > 1)}"
    return _line(what, what_takes_less(spec, several=num_workers > 1, loads=loads), scarcity.limit)


def what_takes_less(spec: SweepSpec, *, several: bool, loads: bool = True) -> list[str]:
    """Remedies where memory does not suffice to train.

    Args:
        spec: The sweep file.
        several: Whether there is more than one worker.
        loads: Whether it may be for loading the data, too.
    """
    return [*(["--workers 1"] if several else []), _SMALLER, *_with_less(spec, streamed=loads)]


def how_killed(scarcity: Scarcity) -> str:
    """Why a process was killed, as far as it is known; empty if the kernel did not do it."""
    if scarcity.by_kernel is False:
        return ""
    return (
        "by the kernel, since memory had come to its end"
        if scarcity.by_kernel
        else "as the kernel does where memory ends"
    )


def first_line(error: BaseException) -> str:
    """An error in one line."""
    if isinstance(error, SystemExit):
        return f"sys.exit({error.code})"
    if (asked := _ALLOCATION.search(str(error))) is not None:
        return f"{_shown(int(asked[1]))} more were asked for in vain"
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}: {first[0]}" if first else type(error).__name__


def _with_less(spec: SweepSpec, *, streamed: bool) -> list[str]:
    """What in the sweep file's data would take less, as far as there is anything."""
    if not spec.has_data:
        return []
    from tuner.data.sources import left_on_disk, made_smaller  # late: where memory suffices nothing asks for it

    ways = [*([left_on_disk] if streamed else []), made_smaller]
    return [said for way in ways if (said := way(spec.data, root=Path(spec.root)))]


def _is_of_each(limit: MemoryLimit | None) -> bool:
    return limit is not None and limit.of_each


def _line(what: str, remedies: Sequence[str], limit: MemoryLimit | None) -> str:
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
