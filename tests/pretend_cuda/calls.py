"""How calls of PyTorch are taken on the pretended machine: above autograd for devices, below it for kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

from tests.pretend_cuda.machine import CPU, Machine, storages

RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
COPIES = {"aten::copy_", "aten::_to_copy"}
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}
WAITING = {
    "aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::masked_select", "aten::bincount",
    "aten::_unique2", "aten::unique_dim", "aten::repeat_interleave",
}  # fmt: skip
"""Their result, or its shape, is needed on the host."""
NUMBERS_ALLOWED = {"aten::where", "aten::masked_fill", "aten::masked_fill_", "aten::index_fill_", "aten::fill_"}
"""Not elementwise by their tags, and yet a number on the CPU will do for them."""
NO_KERNEL = {
    "aten::empty", "aten::empty_like", "aten::new_empty", "aten::empty_strided", "aten::new_empty_strided",
    "aten::detach", "aten::alias", "aten::lift_fresh", "aten::set_", "aten::_local_scalar_dense",
}  # fmt: skip


class Functions(TorchFunctionMode):
    """Answers what a tensor's device is, and takes `device=`, `.to()` and `.cpu()`."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        machine, kwargs, name = self._machine, dict(kwargs or {}), getattr(func, "__name__", "")
        me = args[0] if args and isinstance(args[0], Tensor) else None
        if me is not None:
            device = machine.of(me)
            if name == "__get__":
                which = getattr(getattr(func, "__self__", None), "__name__", "")
                if which in ("device", "is_cuda", "is_cpu"):
                    return {"device": device, "is_cuda": device != CPU, "is_cpu": device == CPU}[which]
            if name in ("to", "cpu", "cuda"):
                return self._moved(me, name, args[1:], kwargs)
            if name in ("numpy", "__array__") and device != CPU:
                raise TypeError(f"can't convert {device} device type tensor to numpy. Use Tensor.cpu() first")
            if name == "pin_memory":
                found = me.clone()
                machine.pin(found)
                return found
            if name == "tolist" and device != CPU:
                machine.wait("tolist")
            if name == "__deepcopy__":
                found = func(*args, **kwargs)
                machine.put(found, device)
                return found
        pinned, asked = kwargs.pop("pin_memory", False), kwargs.get("device")
        if asked is not None:
            asked, kwargs["device"] = machine.device(asked), CPU
        with self._inside(asked or machine.first_gpu((args, kwargs))):
            found = func(*args, **kwargs)
        if asked is not None:
            if name in ("tensor", "as_tensor", "asarray") and asked != CPU:
                machine.wait("copy to the device")
                found = found.clone() if found is me else found
            machine.put(found, asked)
        if pinned:
            machine.pin(found)
        if name in RECURRENT and machine.first_gpu(found) is not None:
            _refuse_backward_in_evaluation(args, found)
        return found

    def _moved(self, me: Tensor, name: str, args: Any, kwargs: Any) -> Tensor:
        """`.to()` and its kin: a copy, where it is not there already."""
        machine, given = self._machine, [*args, kwargs.get("device"), kwargs.get("other"), kwargs.get("dtype")]
        source = target = machine.of(me)
        dtype = me.dtype
        if name != "to":
            target = CPU if name == "cpu" else machine.device(given[0] or "cuda")
        else:
            for value in given:
                if isinstance(value, Tensor):
                    target, dtype = machine.of(value), value.dtype
                elif isinstance(value, torch.dtype):
                    dtype = value
                elif isinstance(value, torch.device | str) or type(value) is int:
                    target = machine.device(value)
        with self._inside(source if source != CPU else None):
            if source == target:
                return me.to(dtype, copy=bool(kwargs.get("copy", False)))
            _count_crossing(machine, source, target, me if kwargs.get("non_blocking") else None)
            with _disable_current_modes():
                found = me.to(dtype, copy=True, memory_format=kwargs.get("memory_format") or torch.preserve_format)
        machine.put(found, target)
        return found

    @contextmanager
    def _inside(self, device: torch.device | None) -> Iterator[None]:
        here = self._machine.here
        before, here.inside = here.inside, device
        try:
            yield
        finally:
            here.inside = before


class Kernels(TorchDispatchMode):
    """Sees each operation: where it runs, whether it may, and what a graph captures of it."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return self._run(func, args, kwargs or {})

    def _run(self, func: Any, args: Any, kwargs: Any) -> Any:
        machine, name = self._machine, func._schema.name
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        device = self._device(func, args, tensors)
        if device == CPU:
            return func(*args, **kwargs)
        graph = machine.capturing
        captured = graph is not None and graph.captures(device)
        if captured:
            assert graph is not None
            graph.note_writes(func, args, kwargs)
        found = self._drawn(func, args, kwargs, device) if _draws(func) else func(*args, **kwargs)
        known = storages(tensors)
        for leaf in tree_leaves(found):
            if isinstance(leaf, Tensor) and not storages([leaf]) <= known:
                machine.put(leaf, device)
        if captured:
            assert graph is not None
            graph.record(func, args, kwargs, found)
        elif not _is_view(func) and name not in NO_KERNEL:
            machine.counts["launch"] += 1
        return found

    def _device(self, func: Any, args: Any, tensors: list[Tensor]) -> torch.device:
        """Where an operation runs.

        Raises:
            RuntimeError: its tensors lie on different devices, and no kernel takes them so.
        """
        machine, name = self._machine, func._schema.name
        devices = [machine.of(t) for t in tensors]
        device = next((d for d in devices if d != CPU), None)
        if device is None:
            return CPU if tensors else machine.here.inside or CPU
        if name in WAITING:
            machine.wait(name.removeprefix("aten::"))
        if name in COPIES:
            if len(devices) > 1 and devices[0] != devices[1]:
                _count_crossing(machine, devices[1], devices[0], args[1] if len(args) > 2 and args[2] else None)
            return devices[0]
        chosen = [t for t in args[1] if t is not None] if name in INDEXING else []
        if devices[0] != CPU:
            for index in chosen:
                if index.dtype == torch.bool:
                    machine.wait("a mask as an index")
                if machine.of(index) == CPU:
                    machine.wait("copy to the device")
        takes_numbers = torch.Tag.pointwise in func.tags or name in NUMBERS_ALLOWED or name.startswith("aten::_foreach")
        for tensor, at in zip(tensors, devices, strict=True):
            is_index = devices[0] != CPU and at == CPU and any(tensor is index for index in chosen)
            if at != device and not is_index and not (at == CPU and tensor.dim() == 0 and (takes_numbers or chosen)):
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two, {device} and {at}! "
                    f"({func}, shapes {[tuple(t.shape) for t in tensors]})"
                )
        return device

    def _drawn(self, func: Any, args: Any, kwargs: Any, device: torch.device) -> Any:
        """Draw from the device's own generator."""
        own, usual = self._machine.generators[device.index], torch.default_generator.get_state()
        torch.default_generator.set_state(own.get_state())
        try:
            return func(*args, **kwargs)
        finally:
            own.set_state(torch.default_generator.get_state())
            torch.default_generator.set_state(usual)


def _draws(func: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags


def _is_view(func: Any) -> bool:
    returns = func._schema.returns
    return bool(returns) and all(r.alias_info is not None and not r.alias_info.is_write for r in returns)


def _count_crossing(machine: Machine, source: torch.device, target: torch.device, sent: Tensor | None) -> None:
    """Count a copy; the host does not wait for one that it has `sent` from pinned memory."""
    if sent is not None and target != CPU and machine.is_pinned(sent):
        machine.counts["launch"] += 1
    elif target == CPU:
        machine.wait("copy to the host")
    elif source == CPU:
        machine.wait("copy to the device")
    else:
        machine.counts["launch"] += 1


def _refuse_backward_in_evaluation(args: Any, found: Any) -> None:
    """cuDNN keeps what the backward pass of a recurrent layer needs in training mode only."""
    flags = [value for value in args if isinstance(value, bool)]  # has_biases, train, ...
    if flags[1]:
        return

    def refuse(_: Tensor) -> None:
        raise RuntimeError("cudnn RNN backward can only be called in training mode")

    for tensor in tree_leaves(found):
        if isinstance(tensor, Tensor) and tensor.requires_grad:
            tensor.register_hook(refuse)
