"""What ended trials have left in the memory of a process, and when that is looked for."""

from __future__ import annotations

import gc
import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

from tuner.execute.widths import Footprint

GROWTH_BYTES = 2**26
"""Garbage is collected when so much more is in use than after the last time: a look at all objects takes 50 ms."""
_FREED_BYTES = 2**24
"""Having freed so much, a trial that ran out of memory is tried again."""
WORN_BYTES = {"cpu": 2**29}
"""So much more than at the start, with all garbage gone, was left by trials that have ended."""
_WORN_BYTES_ELSEWHERE = 2**26
"""The same on an accelerator, where nothing but tensors counts."""


def room_bytes(device: torch.device) -> float:
    """What new tensors of this process could have of a CUDA device's memory; others may be at work there."""
    free, total = torch.cuda.mem_get_info(device)
    in_use = torch.cuda.memory_allocated(device)
    allowed = torch.cuda.get_per_process_memory_fraction(device) * total - in_use
    return max(0.0, min(free + torch.cuda.memory_reserved(device) - in_use, allowed))


def limit_share(device: torch.device, share: float) -> None:
    """Let this process take so much of a CUDA device's memory at most, or less where the user has said so."""
    torch.cuda.set_per_process_memory_fraction(min(share, torch.cuda.get_per_process_memory_fraction(device)), device)


def held_by_others(device: torch.device) -> int:
    """About the bytes of a CUDA device that other processes hold."""
    free, total = torch.cuda.mem_get_info(device)
    return total - free - torch.cuda.memory_reserved(device)


class Memory:
    """The memory of a device that this process uses.

    A module that refers to itself, as one with a hook does, stays after its trial until Python looks for such cycles,
    which it does by numbers of objects and not by their size.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._at_start = self._at_last = in_use(device)
        self._before = self._at_start

    def begin(self) -> None:
        """A group of trials is about to begin."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = in_use(self._device)

    def footprint(self, num_trials: int) -> Footprint | None:
        """What the group has taken so far, on CUDA; it was never wider."""
        if self._device.type != "cuda":
            return None
        peak = torch.cuda.max_memory_allocated(self._device) - self._before
        room = room_bytes(self._device) + in_use(self._device) - self._before
        return Footprint(per_trial_bytes=peak / num_trials, room_bytes=room)

    def tidy(self) -> None:
        """Collect garbage if a good deal of memory may be in it."""
        if in_use(self._device) > self._at_last + GROWTH_BYTES:
            self.collect()

    def collect(self) -> bool:
        """Collect garbage; whether that freed much."""
        before = in_use(self._device)
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._device.type == "mps":
            torch.mps.empty_cache()
        self._at_last = in_use(self._device)
        return before - self._at_last >= _FREED_BYTES

    @property
    def is_worn(self) -> bool:
        """Whether ended trials still hold much that is no garbage, so that the next ones have too little."""
        return self._at_last - self._at_start > WORN_BYTES.get(self._device.type, _WORN_BYTES_ELSEWHERE)


def in_use(device: torch.device) -> int:
    """Bytes."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.current_allocated_memory()
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def of_files() -> int:
    """Bytes of the memory in use that hold what files hold, and that processes share which map the same (Linux)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[2]) * resource.getpagesize()
    except OSError:
        return 0


def forget_peak() -> None:
    """From now on `peak_bytes` is of what comes (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most memory that this process has had in use since `forget_peak`; what it has now where that is not told."""
    with suppress(OSError, ValueError, LookupError):
        lines = (line.partition(":") for line in Path("/proc/self/status").read_text().splitlines())
        return 1024 * int(next(rest.split()[0] for name, _, rest in lines if name == "VmHWM"))
    return in_use(torch.device("cpu"))


def waited_seconds() -> float:
    """How long this process could have gone on while others had the cores (Linux; else 0)."""
    try:
        return float(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0
