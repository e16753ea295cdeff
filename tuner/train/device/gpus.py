"""Which GPU a process or a thread works on where nobody says: of several the first, unless it is told."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_VARIABLES = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")
"""AMD's libraries obey both, and show what the first leaves of the second."""


def named_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """What the environment says is visible: indices, UUIDs of GPUs or of MIG slices; empty where it says nothing."""
    return [name.strip() for name in environment.get(_variable(environment), "").split(",") if name.strip()]


def only_gpus(indices: Iterable[int], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What to set so that a process sees the GPUs alone which have these indices here; they count from 0 there."""
    named = named_gpus(environment)
    return {_variable(environment): ",".join(named[i] if i < len(named) else str(i) for i in indices)}


def make_current(device: torch.device) -> None:
    """Let this thread do on the device what it does on "the current one": capture, seed, make a tensor on `"cuda"`."""
    if device.type == "cuda":
        import torch

        torch.cuda.set_device(device.index or 0)


def wait_for(device: torch.device) -> None:
    """Return when the device has done all that it was asked for; a CPU has."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def sent(values: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Values of the host on a device; to a GPU they go while the host goes on."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def stacked_on(tensors: Sequence[torch.Tensor], device: torch.device) -> torch.Tensor:
    """Tensors of the host as one on a device."""
    import torch

    if device.type != "cuda":
        return torch.stack([*tensors]).to(device)
    shape = (len(tensors), *tensors[0].shape)
    pinned = torch.empty(shape, dtype=tensors[0].dtype, pin_memory=True)
    return torch.stack([*tensors], out=pinned).to(device, non_blocking=True)


def allow_tf32(allowed: bool) -> None:
    """Let float32 products and convolutions on CUDA round to TF32, or not, whatever the environment says."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


@contextmanager
def without_tf32() -> Iterator[None]:
    """Within the block products are those of float32, so that ways to compute can be compared."""
    import torch

    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    allow_tf32(False)
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _variable(environment: Mapping[str, str]) -> str:
    return next((name for name in _VARIABLES if name in environment), _VARIABLES[-1])
