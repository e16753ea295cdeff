"""Trained weights, read and put into their module. An export holds a copy of this file: it needs torch and numpy alone.

What a module holds besides tensors is packed into tensors of bytes, by names that begin with `MARK`
(`tuner.models.packed` writes them). Nothing that is read here runs code.
"""

from __future__ import annotations

import io
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MARK = "!"
ATTRIBUTES = f"{MARK}attributes"
"""Plain attributes by their dotted names."""
EXTRA = f"{MARK}extra state"
"""What `get_extra_state` of the module's parts returned, by its name in the state dict."""
BUFFERS = f"{MARK}buffers"
"""In an export: buffers that no state dict has, by their dotted names."""
METADATA = "tuner"
KIND = "!kind"
COLLECTIONS: Mapping[type, Callable[[list[Any]], object]] = {list: list, tuple: tuple, set: set, frozenset: frozenset}
_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")


class OtherNetworkError(RuntimeError):
    """Weights, or what was packed beside them, that a module does not take."""


def read_trained(path: Path) -> dict[str, Any]:
    """The weights that a trial left, with what was packed beside them. No code in the file is run.

    Raises:
        OSError: it cannot be read.
        Exception: it is damaged or forged; PyTorch may raise anything.
    """
    found = torch.load(path, map_location="cpu", weights_only=True)
    metadata = getattr(found, "_metadata", {}).get("", {})
    return {**found, **metadata.get(METADATA, {})}


def load_trained(module: nn.Module, weights: Mapping[str, Any]) -> None:
    """Give a module the weights of a trained one, and the attributes that it had changed.

    Raises:
        OtherNetworkError: they are those of another module.
    """
    try:
        named = {name: value for name, value in weights.items() if not name.startswith(MARK)}
        extra = unpacked(weights[EXTRA]) if EXTRA in weights else {}
        module.load_state_dict({**named, **extra})
        for name, buffer in (unpacked(weights[BUFFERS]) if BUFFERS in weights else {}).items():
            part, _, own = name.rpartition(".")
            setattr(module.get_submodule(part), own, buffer)
        if ATTRIBUTES in weights:
            set_attributes(module, unpacked(weights[ATTRIBUTES]))
    except MemoryError:
        raise
    except Exception as error:  # the module's own code takes part: set_extra_state, hooks, __setattr__
        lines = str(error).strip().splitlines() or [type(error).__name__]
        kind = "" if isinstance(error, RuntimeError) else f"{type(error).__name__}: "
        raise OtherNetworkError(kind + lines[-1].strip()[:200].rstrip(".")) from error


def set_attributes(module: nn.Module, values: Mapping[str, object]) -> None:
    """Set plain attributes of a module's parts by their dotted names; generators go on from their states."""
    for name, value in values.items():
        part, _, own = name.rpartition(".")
        holder = module.get_submodule(part)
        object.__setattr__(holder, own, value)


def unpacked(found: Tensor) -> dict[str, Any]:
    """What `packed` took."""
    values = torch.load(io.BytesIO(found.cpu().numpy().tobytes()), weights_only=True)
    return {name: _restored(value) for name, value in values.items()}


def _restored(value: Any) -> Any:
    """The inverse of `_plain`."""
    if not isinstance(value, dict) or KIND not in value:
        return value
    match value[KIND]:
        case "dict":
            return {_restored(k): _restored(v) for k, v in value["items"]}
        case "OrderedDict":
            return OrderedDict((_restored(k), _restored(v)) for k, v in value["items"])
        case "array":
            return np.frombuffer(value["bytes"], dtype=value["dtype"]).reshape(value["shape"]).copy()
        case "scalar":
            return np.frombuffer(value["bytes"], dtype=value["dtype"])[0]
        case "torch.Generator":
            return torch.Generator(value["device"]).set_state(value["state"])
        case "random.Random":
            made = random.Random()
            version, internal, gauss = value["state"]
            made.setstate((version, tuple(internal), gauss))
            return made
        case "deque":
            return deque([_restored(item) for item in value["items"]], maxlen=value["maxlen"])
        case "numpy" if value["name"] in _BIT_GENERATORS:
            bits = getattr(np.random, value["name"])()
            bits.state = _restored(value["state"])
            return np.random.Generator(bits)
        case name:
            kinds = {kind.__name__: make for kind, make in COLLECTIONS.items()}
            return kinds[name]([_restored(item) for item in value["items"]])
