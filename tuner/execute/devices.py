"""Which devices train, and how many workers each gets."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.errors import UsageError
from tuner.execute.cores import cores_to_pin, num_cores
from tuner.execute.numeric import limit_threads, set_numeric_environment, threads_wanted
from tuner.train.device.gpus import named_gpus, only_gpu

WORKERS_PER_CORE = 16
"""More are refused: each holds a copy of the libraries, and a program's start costs more than its training."""


@dataclass(frozen=True, slots=True)
class WorkerPlace:
    """Where one worker process runs."""

    device: str
    """A torch device, as the coordinator numbers them: `cpu`, `cuda:0`, `mps`."""
    threads: int
    """CPU threads that torch may use; what tuner trains has one, for which results on the CPU are bit-equal."""
    core: int | None
    """The core that it is pinned to, where the platform allows."""
    own_code: bool = False
    """Whether training code of the user's own runs there: its environment is the user's."""
    sharers: int = 1
    """Workers on the device, this one included, which have equal shares of its memory."""


def worker_places(devices: Sequence[str], *, workers: int | None = None, own_code: bool = False) -> list[WorkerPlace]:
    """Places for the workers.

    Args:
        devices: From `--devices`; empty for the best that is there: CUDA, then MPS, then the CPU.
        workers: How many in all; by default one for each accelerator, or one for each core.
        own_code: Whether training code of the user's own runs there, which shares the cores.

    Raises:
        UsageError: a device that is not there, devices of several kinds, or far more workers than cores.
    """
    chosen = list(devices) or _best_devices()
    for device in chosen:
        _check(device)
    if len(kinds := {device.partition(":")[0] for device in chosen}) > 1:
        raise UsageError(
            f"--devices {','.join(chosen)} names devices of {len(kinds)} kinds, which differ in how wide cohorts pay "
            f"and in rounding; name those of one: {' or '.join(sorted(kinds))}"
        )
    cores = num_cores()
    if workers is not None and workers > WORKERS_PER_CORE * cores:
        raise UsageError(
            f"{workers} workers are too many: there are {cores} cores; --workers may be {WORKERS_PER_CORE} for each, "
            f"{WORKERS_PER_CORE * cores} in all"
        )
    on_cpu = chosen == ["cpu"]
    count = workers or (cores if on_cpu else len(chosen))
    threads = (threads_wanted() or max(1, cores // count)) if own_code else 1
    pinned = cores_to_pin(count) if on_cpu and threads == 1 else None
    names = [chosen[i % len(chosen)] for i in range(count)]
    at = Counter(_indexed(name) for name in names)
    return [
        WorkerPlace(name, threads, pinned[i] if pinned else None, own_code, 1 if on_cpu else at[_indexed(name)])
        for i, name in enumerate(names)
    ]


def prepare_environment(place: WorkerPlace) -> None:
    """Set the environment that processes of a place inherit, before torch is imported."""
    if not place.own_code:
        set_numeric_environment(place.threads)
    elif place.threads < num_cores():
        limit_threads(place.threads)


def see_alone(device: str) -> str:
    """Hide all GPUs but the device from this process, in which CUDA has not started; what the device is called then.

    Whatever has the first GPU for its default has this one now: threads, users' code, and processes that it starts.
    """
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return device
    os.environ.update(only_gpu(int(index or 0)))
    return "cuda:0"


def _indexed(device: str) -> str:
    return "cuda:0" if device == "cuda" else device


def _best_devices() -> list[str]:
    """All CUDA devices, else MPS, else the CPU. Asks the driver's files first: torch is slow to import."""
    if not _may_have_accelerator():
        return ["cpu"]
    import torch

    if torch.cuda.is_available():
        return [f"cuda:{i}" for i in range(_num_gpus())]
    return ["mps"] if torch.backends.mps.is_available() else ["cpu"]


def _may_have_accelerator() -> bool:
    import sys
    from pathlib import Path

    return sys.platform in ("darwin", "win32") or any(
        Path(p).exists() for p in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
    )


def _num_gpus() -> int:
    import torch

    named = named_gpus()
    # CUDA shows a process one MIG slice at most, the first: each worker asks for its own.
    return len(named) if named and named[0].startswith("MIG-") else torch.cuda.device_count()


def _check(device: str) -> None:
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise UsageError(f'unknown device "{device}"; use cpu, cuda, cuda:0, mps, or several with commas')
    if kind == "cpu":
        return
    import torch

    if kind == "cuda":
        count = _num_gpus() if torch.cuda.is_available() else 0
        if count <= int(index or 0):
            raise UsageError(f"{device} is not there: torch sees {count} CUDA devices; leave --devices out, or use cpu")
    elif not torch.backends.mps.is_available():
        raise UsageError("mps is not available here; leave --devices out, or use cpu")
