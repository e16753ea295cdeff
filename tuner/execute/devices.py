"""Which devices train, and how many workers each gets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.errors import UsageError


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Where one worker process runs."""

    device: str
    """A torch device: `cpu`, `cuda:0`, `mps`."""
    threads: int
    """CPU threads that torch may use; results on CPU are bit-equal for one."""
    core: int | None
    """The core that it is pinned to, where the platform allows."""


def available_cores() -> list[int]:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def worker_places(devices: Sequence[str], *, workers: int | None = None) -> list[WorkerPlace]:
    """Places for the workers.

    Args:
        devices: From `--devices`; empty for the best that is there: CUDA, then MPS, then the CPU.
        workers: How many in all; by default one for each accelerator, or one for each core.

    Raises:
        UsageError: a device that is not there.
    """
    chosen = list(devices) or _best_devices()
    for device in chosen:
        _check(device)
    cores = available_cores()
    if chosen == ["cpu"]:
        count = workers or len(cores)
        pinned = count <= len(cores) and count > 1
        return [WorkerPlace("cpu", 1, cores[i] if pinned else None) for i in range(count)]
    count = workers or len(chosen)
    return [WorkerPlace(chosen[i % len(chosen)], 1, None) for i in range(count)]


def _best_devices() -> list[str]:
    """All CUDA devices, else MPS, else the CPU. Asks the driver's files first: torch is slow to import."""
    if not _may_have_accelerator():
        return ["cpu"]
    import torch

    if torch.cuda.is_available():
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return ["mps"] if torch.backends.mps.is_available() else ["cpu"]


def _may_have_accelerator() -> bool:
    import sys
    from pathlib import Path

    return sys.platform in ("darwin", "win32") or any(
        Path(p).exists() for p in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
    )


def _check(device: str) -> None:
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise UsageError(f'unknown device "{device}"; use cpu, cuda, cuda:0, mps, or several with commas')
    if kind == "cpu":
        return
    import torch

    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= int(index or 0):
            raise UsageError(f"{device} is not there: torch sees {count} CUDA devices; leave --devices out, or use cpu")
    elif not torch.backends.mps.is_available():
        raise UsageError("mps is not available here; leave --devices out, or use cpu")
