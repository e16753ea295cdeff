"""What `torch.cuda` says and does while a machine is pretended."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from tests.pretend_cuda.calls import Functions, Kernels
from tests.pretend_cuda.graphs import Capture, CurrentDevice, CurrentStream, Event, Graph, Stream
from tests.pretend_cuda.machine import TOTAL_BYTES, Machine

HAS_GPU = torch.cuda.is_available()
"""Whether there is a real one: nothing is pretended yet. A build for CUDA says nothing of it."""
MACHINE = Machine(num_gpus=2)
"""One for the process, since what is kept for a device (`lru_cache`) outlives a test."""

_PROPERTIES = SimpleNamespace(total_memory=TOTAL_BYTES, name="pretended", major=9, minor=0, multi_processor_count=1)
_autocast = torch.autocast
_run_thread = threading.Thread.run
_restored = torch.serialization.default_restore_location


class Autocast(_autocast):
    """`torch.autocast`, which is the CPU's for a GPU too."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


@contextmanager
def pretended(machine: Machine = MACHINE) -> Iterator[Machine]:
    """Within the block this process has the machine's GPUs, in threads too that are started in it."""
    for kind in (Stream, Event, CurrentStream, CurrentDevice, Graph, Capture):
        kind.machine = machine
    Capture.default_capture_stream = None
    gc.collect()  # what was left in cycles would count as memory in use, until somebody collects it
    machine.reset()

    def run(thread: threading.Thread) -> None:
        with Functions(machine), Kernels(machine):
            _run_thread(thread)

    with (
        patch.multiple(torch.cuda, **_cuda(machine)),
        patch.multiple(torch, autocast=Autocast),
        patch.multiple(torch.amp, autocast=Autocast),
        patch.multiple(torch.serialization, **_files(machine)),
        patch.object(torch.backends.cudnn, "is_acceptable", lambda tensor: False),  # or recurrent layers pack weights
        patch.object(threading.Thread, "run", run),
        Functions(machine),
        Kernels(machine),
    ):
        try:
            yield machine
        finally:
            machine.reset()


def _files(machine: Machine) -> dict[str, Any]:
    """What `torch.save` writes of a tensor's device, and what `torch.load` makes of it unless it is told otherwise."""

    def location_tag(storage: Any) -> str:
        return str(machine.holder(storage))

    def default_restore_location(storage: Any, location: str) -> Any:
        if not location.startswith("cuda"):
            return _restored(storage, location)
        machine.hold(storage, machine.device(location))
        return storage

    return {"location_tag": location_tag, "default_restore_location": default_restore_location}


def _cuda(machine: Machine) -> dict[str, Any]:
    """What takes the place of the functions and classes of `torch.cuda`, by name."""
    here = machine.here

    def index_of(device: Any = None) -> int:
        return int(machine.device("cuda" if device is None else device).index)

    def set_device(device: Any) -> None:
        here.device = index_of(device)

    def current_stream(device: Any = None) -> Stream:
        return here.streams.setdefault(index_of(device), Stream(index_of(device)))

    def manual_seed(number: int) -> None:
        machine.generators[here.device].manual_seed(number)

    def manual_seed_all(number: int) -> None:
        for generator in machine.generators:
            generator.manual_seed(number)

    def set_sync_debug_mode(mode: int | str) -> None:
        machine.sync_debug_mode = mode if isinstance(mode, int) else ("default", "warn", "error").index(mode)

    def set_fraction(fraction: float, device: Any = None) -> None:
        machine.limit_bytes = fraction * TOTAL_BYTES if fraction < 1 else float("inf")

    def reset_peak(device: Any = None) -> None:
        machine.peak_bytes = machine.in_use()

    def in_use(device: Any = None) -> int:
        return machine.in_use(torch.device("cuda", index_of(device)))

    return {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_lazy_init": lambda: None,
        "init": lambda: None,
        "device_count": lambda: machine.num_visible,
        "current_device": lambda: here.device,
        "set_device": set_device,
        "device": CurrentDevice,
        "Stream": Stream,
        "Event": Event,
        "stream": CurrentStream,
        "current_stream": current_stream,
        "default_stream": current_stream,
        "synchronize": lambda device=None: machine.wait("synchronize"),
        "CUDAGraph": Graph,
        "graph": Capture,
        "graph_pool_handle": lambda: (0, 1),
        "set_sync_debug_mode": set_sync_debug_mode,
        "get_sync_debug_mode": lambda: machine.sync_debug_mode,
        "is_current_stream_capturing": lambda: machine.capturing is not None,
        "empty_cache": lambda: None,
        "manual_seed": manual_seed,
        "manual_seed_all": manual_seed_all,
        "get_rng_state": lambda device=None: machine.generators[index_of(device)].get_state(),
        "set_rng_state": lambda state, device=None: machine.generators[index_of(device)].set_state(state),
        "get_device_name": lambda device=None: "pretended",
        "get_device_properties": lambda device=None: _PROPERTIES,
        "get_device_capability": lambda device=None: (9, 0),
        "is_bf16_supported": lambda *_, **__: True,
        "mem_get_info": lambda device=None: (TOTAL_BYTES - in_use(device), TOTAL_BYTES),
        "get_per_process_memory_fraction": lambda device=None: min(1.0, machine.limit_bytes / TOTAL_BYTES),
        "memory_allocated": in_use,
        "memory_reserved": in_use,
        "max_memory_allocated": lambda device=None: machine.peak_bytes,
        "max_memory_reserved": lambda device=None: machine.peak_bytes,
        "reset_peak_memory_stats": reset_peak,
        "set_per_process_memory_fraction": set_fraction,
    }
