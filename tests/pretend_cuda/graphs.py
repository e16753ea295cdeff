"""Streams, events and graphs of the pretended machine, under the names that `torch.cuda` has for them."""

from __future__ import annotations

import time
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from tests.pretend_cuda.machine import Machine, storages

EMPTY = (
    "The CUDA Graph is empty. This usually means that the graph was attempted to be captured on wrong device or stream."
)


class Stream:
    """`torch.cuda.Stream`; work is done at once, so streams matter only for what a graph captures."""

    machine: Machine

    def __init__(self, device: Any = None, **_: Any) -> None:
        self.device = self.machine.device("cuda" if device is None else device)

    def wait_stream(self, other: Stream) -> None:
        pass

    def synchronize(self) -> None:
        self.machine.wait("synchronize")


class Event:
    """`torch.cuda.Event`."""

    machine: Machine

    def __init__(self, **_: Any) -> None:
        self._seconds = 0.0

    def record(self, stream: Stream | None = None) -> None:
        self._seconds = time.perf_counter()

    def synchronize(self) -> None:
        self.machine.wait("synchronize")

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds of the host, for want of a GPU's."""
        return 1e3 * (end._seconds - self._seconds)


class CurrentStream:
    """`torch.cuda.stream`: makes a stream and its device the current ones of this thread."""

    machine: Machine

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __enter__(self) -> None:
        here = self.machine.here
        self._before = here.device, dict(here.streams)
        here.device = self._stream.device.index
        here.streams[here.device] = self._stream

    def __exit__(self, *_: Any) -> None:
        self.machine.here.device, self.machine.here.streams = self._before


class CurrentDevice:
    """`torch.cuda.device`."""

    machine: Machine

    def __init__(self, device: Any) -> None:
        self._index = self.machine.device(device).index

    def __enter__(self) -> None:
        self._before = self.machine.here.device
        self.machine.here.device = self._before if self._index is None else self._index

    def __exit__(self, *_: Any) -> None:
        self.machine.here.device = self._before


class Graph:
    """`torch.cuda.CUDAGraph`: calls in their order, on the memory that they were captured on."""

    machine: Machine

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self.stream: Stream | None = None
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self._own: set[int] = set()

    def captures(self, device: torch.device) -> bool:
        """Whether what is launched now on a device goes into the graph."""
        stream = self.stream
        return stream is not None and stream.device == device and self.machine.here.streams.get(device.index) is stream

    def note_writes(self, func: Any, args: Any, kwargs: Any) -> None:
        """Remember what a call will write on: a capture computes nothing, so it is put back at the end."""
        for place, argument in enumerate(func._schema.arguments):
            # Norms write their running statistics, though their schemas say nothing of it.
            is_write = argument.alias_info is not None and argument.alias_info.is_write
            if is_write or argument.name in ("running_mean", "running_var"):
                given = args[place] if place < len(args) else kwargs.get(argument.name)
                for tensor in tree_leaves(given):
                    if isinstance(tensor, Tensor):
                        storage = tensor.untyped_storage()
                        if storage._cdata not in self._own:
                            self._before.setdefault(storage._cdata, (storage, storage.clone()))

    def record(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        used = storages(t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor))
        self._own |= storages(t for t in tree_leaves(out) if isinstance(t, Tensor)) - used
        self.calls.append((func, args, kwargs, out))

    def end(self) -> None:
        for storage, value in self._before.values():
            storage.copy_(value)
        self._before = {}
        if not self.calls:
            warnings.warn(EMPTY, stacklevel=2)

    def replay(self) -> None:
        self.machine.counts["replay"] += 1
        self.machine.counts["launch"] += 1
        with torch._C.DisableTorchFunction(), _disable_current_modes(), torch.no_grad():
            for func, args, kwargs, out in self.calls:
                found = func(*args, **kwargs)
                if all(r.alias_info is None for r in func._schema.returns):  # neither a view nor in place
                    for old, new in zip(tree_leaves(out), tree_leaves(found), strict=True):
                        if isinstance(old, Tensor):
                            old.copy_(new)


class Capture:
    """`torch.cuda.graph`."""

    machine: Machine
    default_capture_stream: Stream | None = None

    def __init__(self, graph: Graph, *, pool: object = None, stream: Stream | None = None) -> None:
        if stream is None and Capture.default_capture_stream is None:
            Capture.default_capture_stream = Stream()  # on the device that is current then, and for ever
        graph.stream = stream or Capture.default_capture_stream
        assert graph.stream is not None
        self._graph, self._around = graph, CurrentStream(graph.stream)

    def __enter__(self) -> None:
        self.machine.wait("capture")
        self._around.__enter__()
        self.machine.counts["capture"] += 1
        self.machine.capturing = self._graph

    def __exit__(self, *error: Any) -> None:
        self.machine.capturing = None
        self._around.__exit__(*error)
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            self._graph.end()
