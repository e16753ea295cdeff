"""The state of the pretended machine: which tensor lies where, current devices and streams, memory, and counts."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves

if TYPE_CHECKING:
    from tests.pretend_cuda.graphs import Graph, Stream

CPU = torch.device("cpu")
TOTAL_BYTES = 2**37
PRUNE_AT = 10_000


class Here(threading.local):
    """What CUDA keeps for each host thread."""

    def __init__(self) -> None:
        self.device = 0
        self.streams: dict[int, Stream] = {}
        self.inside: torch.device | None = None
        """Where PyTorch puts what it makes on the way while it computes on the tensors of a call."""


class Machine:
    """GPUs that are not there."""

    def __init__(self, num_gpus: int) -> None:
        self.num_gpus = num_gpus
        self.here = Here()
        self.generators = [torch.Generator().manual_seed(0) for _ in range(num_gpus)]
        self.capturing: Graph | None = None
        self.counts: Counter[str] = Counter()
        """By what happened: `launch`, `replay`, `capture`, and `wait: ...` where the host waits for a GPU."""
        self.sync_debug_mode = 0
        self.limit_bytes = float("inf")
        self.peak_bytes = 0
        self._places: dict[int, tuple[StorageWeakRef, torch.device, int]] = {}
        self._pinned: dict[int, StorageWeakRef] = {}
        self._in_use = 0
        """At least the bytes in use: what was freed since the last look is among them."""

    @property
    def waits(self) -> dict[str, int]:
        """How often the host waited for a GPU, by why."""
        return {name.removeprefix("wait: "): n for name, n in self.counts.items() if name.startswith("wait: ")}

    @property
    def num_visible(self) -> int:
        """GPUs that this process sees: fewer than there are where the environment names them."""
        named = os.environ.get("CUDA_VISIBLE_DEVICES")
        return self.num_gpus if named is None else min(self.num_gpus, len([n for n in named.split(",") if n.strip()]))

    def reset(self) -> None:
        """Forget counts and limits, and let the first GPU be the current one; tensors stay where they are."""
        self.counts.clear()
        self.limit_bytes = float("inf")
        self.here.device = 0
        self.here.streams = {}
        self.capturing = None

    def wait(self, why: str) -> None:
        if self.capturing is not None:
            raise RuntimeError(f"CUDA error: operation not permitted when stream is capturing ({why})")
        if self.sync_debug_mode == 2:
            raise RuntimeError(f"called a synchronizing CUDA operation ({why})")
        self.counts[f"wait: {why}"] += 1

    # Where tensors lie

    def device(self, given: Any) -> torch.device:
        """A device argument as PyTorch would take it, with an index."""
        device = torch.device("cuda", given) if isinstance(given, int) else torch.device(given)
        if device.type != "cuda":
            return device
        index = self.here.device if device.index is None else device.index
        if index >= self.num_visible:
            raise RuntimeError("CUDA error: invalid device ordinal")
        return torch.device("cuda", index)

    def pin(self, tensor: Tensor) -> None:
        """Note that a tensor of the host lies in pinned memory."""
        self._pinned[_storage(tensor)._cdata] = StorageWeakRef(_storage(tensor))

    def is_pinned(self, tensor: Tensor) -> bool:
        known = self._pinned.get(_storage(tensor)._cdata)
        return known is not None and not known.expired()

    def of(self, tensor: Tensor) -> torch.device:
        return self.holder(_storage(tensor))

    def holder(self, storage: torch.UntypedStorage) -> torch.device:
        """The device in whose memory a storage lies."""
        found = self._places.get(storage._cdata)
        return CPU if found is None or found[0].expired() else found[1]

    def first_gpu(self, values: Any) -> torch.device | None:
        """The GPU of the first tensor that lies on one."""
        devices = (self.of(value) for value in tree_leaves(values) if isinstance(value, Tensor))
        return next((device for device in devices if device.type == "cuda"), None)

    def put(self, values: Any, device: torch.device) -> None:
        """Note that tensors lie on a device from now on.

        Raises:
            torch.OutOfMemoryError: the GPUs have no room for them.
        """
        for value in tree_leaves(values):
            if isinstance(value, Tensor):
                self.hold(_storage(value), device)

    def hold(self, storage: torch.UntypedStorage, device: torch.device) -> None:
        """Note that a storage lies on a device; raises as `put` does."""
        known = self._places.get(storage._cdata)
        if device.type == "cpu":
            self._places.pop(storage._cdata, None)
            return
        self._places[storage._cdata] = StorageWeakRef(storage), device, storage.nbytes()
        if known is not None and not known[0].expired():
            return
        self._in_use += storage.nbytes()
        if self._in_use > min(self.peak_bytes, self.limit_bytes) or len(self._places) > PRUNE_AT:
            self.peak_bytes = max(self.peak_bytes, self.in_use())
        if self._in_use > self.limit_bytes:
            del self._places[storage._cdata]
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {storage.nbytes() / 2**20:.2f} MiB.")

    def in_use(self, device: torch.device | None = None) -> int:
        """Bytes of living tensors on a GPU, or on all."""
        self._places = {key: place for key, place in self._places.items() if not place[0].expired()}
        self._in_use = sum(size for _, _, size in self._places.values())
        return self._in_use if device is None else sum(n for _, at, n in self._places.values() if at == device)


def storages(tensors: Iterable[Tensor]) -> set[int]:
    """What tells the storages of tensors apart."""
    return {_storage(tensor)._cdata for tensor in tensors}


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    with torch._C.DisableTorchFunction():
        while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            tensor = torch._C._functorch.get_unwrapped(tensor)
        return tensor.untyped_storage()
