"""Which devices train, and how many workers each gets."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tuner.errors import UsageError
from tuner.execute.cores import cores_to_pin, num_cores
from tuner.execute.numeric import limit_threads, set_numeric_environment, threads_wanted
from tuner.spec.model import ResourcesSpec
from tuner.train.device.gpus import named_gpus, only_gpus

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
    more: tuple[str, ...] = ()
    """Further devices of the worker's, beside the first."""

    @property
    def shown(self) -> str:
        """What its devices are called in records."""
        return "+".join((self.device, *self.more))


def worker_places(
    devices: Sequence[str],
    *,
    workers: int | None = None,
    own_code: bool = False,
    resources: ResourcesSpec | None = None,
) -> list[WorkerPlace]:
    """Places for the workers.

    Args:
        devices: From `--devices`; empty for the best that is there: CUDA, then MPS, then the CPU.
        workers: How many in all; by default one for each accelerator, or one for each core.
        own_code: Whether training code of the user's own runs there, which shares the cores.
        resources: What each worker has, from the sweep file; of several devices each has some that follow each other.

    Raises:
        UsageError: a device that is not there, devices of several kinds, or more workers than there is place for.
        SweepFileError: a worker's resources are more than there is.
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
    asked = resources or ResourcesSpec()
    groups = _groups(chosen, asked)
    count = _how_many(workers, groups, on_cpu=on_cpu, cores=cores, asked=asked)
    threads = (asked.cpus or threads_wanted() or max(1, cores // count)) if own_code else 1
    pinned = cores_to_pin(count) if on_cpu and threads == 1 else None
    names = [groups[i % len(groups)] for i in range(count)]
    at = Counter(_indexed(first) for first, *_ in names)
    return [
        WorkerPlace(
            first, threads, pinned[i] if pinned else None, own_code, 1 if on_cpu else at[_indexed(first)], tuple(more)
        )
        for i, (first, *more) in enumerate(names)
    ]


def _groups(chosen: Sequence[str], asked: ResourcesSpec) -> list[Sequence[str]]:
    """The devices of each worker that has its own; one after the other where workers share them."""
    if asked.gpus is None:
        return [[device] for device in chosen]
    if not chosen[0].startswith("cuda"):
        raise asked.refusal("gpus", f"there is no GPU to train on here ({','.join(chosen)}); leave it out")
    size = asked.num_gpus
    groups = [chosen[i : i + size] for i in range(0, len(chosen) - size + 1, size)]
    if not groups:
        raise asked.refusal("gpus", f"must be at most {len(chosen)}: there are no more GPUs ({','.join(chosen)})")
    return groups


def _how_many(
    workers: int | None, groups: Sequence[Sequence[str]], *, on_cpu: bool, cores: int, asked: ResourcesSpec
) -> int:
    """How many workers there are: as many as are wanted, or for which there is place."""
    if asked.cpus is not None and asked.cpus > cores:
        raise asked.refusal("cpus", f"must be at most {cores}: there are no more cores")
    by_cores = cores // (asked.cpus or 1)
    places = by_cores if on_cpu else len(groups) * asked.num_sharers
    if asked.cpus is not None:
        places = min(places, by_cores)
    if workers is not None and workers > places and asked != ResourcesSpec():
        raise UsageError(
            f"--workers {workers} is more than the {places} that there is place for, each with the `resources` of the "
            "sweep file"
        )
    return workers or places


def prepare_environment(place: WorkerPlace) -> None:
    """Set the environment that processes of a place inherit, before torch is imported."""
    if not place.own_code:
        set_numeric_environment(place.threads)
    elif place.threads < num_cores():
        limit_threads(place.threads)


def see_alone(*devices: str) -> tuple[str, ...]:
    """Hide all GPUs but these devices from this process, in which CUDA has not started; what they are called then.

    Whatever has the first GPU for its default has one of these now: threads, users' code, and processes that it starts.
    """
    if not devices[0].startswith("cuda"):
        return devices
    os.environ.update(only_gpus(int(device.partition(":")[2] or 0) for device in devices))
    return tuple(f"cuda:{index}" for index in range(len(devices)))


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
