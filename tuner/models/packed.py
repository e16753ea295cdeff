"""What a module holds besides tensors, packed into tensors of bytes: they travel with its weights, and run no code.

A packed value has a name that begins with `MARK`. In a file of weights it stands in the state dict's metadata, which
`load_state_dict` passes over, so that the file stays a state dict like any other.
"""

from __future__ import annotations

import io
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tuner.errors import StorageError

MARK = "!"
ATTRIBUTES = f"{MARK}attributes"
"""Plain attributes by their dotted names."""
EXTRA = f"{MARK}extra state"
"""What `get_extra_state` of the module's parts returned, by its name in the state dict."""
_METADATA = "tuner"
_KIND = "!kind"


class OtherNetworkError(RuntimeError):
    """Weights, or what was packed beside them, that a module does not take."""


class UnsavedError(Exception):
    """A value that cannot be written without running code when it is read; the text names its kind."""


def packed(values: Mapping[str, object]) -> Tensor:
    """Numbers, texts, tensors, arrays, generators, and collections of these, as bytes.

    Raises:
        UnsavedError: there is something else among them.
    """
    written = io.BytesIO()
    torch.save({name: _plain(value) for name, value in values.items()}, written)
    return torch.frombuffer(bytearray(written.getvalue()), dtype=torch.uint8)


def unpacked(found: Tensor) -> dict[str, Any]:
    """What `packed` took."""
    values = torch.load(io.BytesIO(found.cpu().numpy().tobytes()), weights_only=True)
    return {name: _restored(value) for name, value in values.items()}


def load_trained(module: nn.Module, weights: Mapping[str, Any]) -> None:
    """Give a module the weights of a trained one, and the attributes that it had changed.

    Raises:
        OtherNetworkError: they are those of another module.
    """
    try:
        named = {name: value for name, value in weights.items() if not name.startswith(MARK)}
        extra = unpacked(weights[EXTRA]) if EXTRA in weights else {}
        module.load_state_dict({**named, **extra})
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


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write a state dict, with what was packed in its metadata."""
    found: OrderedDict[str, Any] = OrderedDict()
    aside = {}
    for name, value in weights.items():
        prefix, mark, _ = name.partition(MARK)
        if not mark:
            found[name] = value
        elif name.endswith(EXTRA):
            found |= {f"{prefix}{own}": extra for own, extra in unpacked(value).items()}
        else:
            aside[name] = value
    if aside:
        found._metadata = {"": {"version": 1, _METADATA: aside}}  # type: ignore[attr-defined]
    torch.save(found if aside else dict(found), path)


def read_trained(path: Path) -> dict[str, Any]:
    """The weights that a trial left, with what was packed beside them. No code in the file is run.

    Raises:
        OSError: it cannot be read.
        Exception: it is damaged or forged; PyTorch may raise anything.
    """
    found = torch.load(path, map_location="cpu", weights_only=True)
    metadata = getattr(found, "_metadata", {}).get("", {})
    return {**found, **metadata.get(_METADATA, {})}


@contextmanager
def trained_weights(path: Path) -> Iterator[dict[str, Any]]:
    """What `read_trained` finds; within the block it is put into the network.

    Raises:
        StorageError: the file is damaged or forged, or of another network.
    """
    try:
        found = read_trained(path)
    except Exception as error:  # a forged file may make the reader raise anything
        words = str(error).strip().splitlines() or [""]
        cause = f"{type(error).__name__}: {words[0][:200]}"
        raise StorageError(f"{path} holds no weights that can be read safely ({cause}); {_AGAIN}") from None
    try:
        yield found
    except OtherNetworkError as error:
        raise StorageError(f"{path} has the weights of another network ({error}); {_AGAIN}") from error


_AGAIN = "train the trial again from best/sweep.yaml in the study's folder"

_SIMPLE = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size)
_BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
_COLLECTIONS: Mapping[type, Callable[[list[Any]], object]] = {list: list, tuple: tuple, set: set, frozenset: frozenset}


def _plain(value: object) -> object:
    """Made of what PyTorch reads without running code."""
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if isinstance(value, Tensor) and kind is Tensor:
        return value.detach()
    if kind in _COLLECTIONS:
        return {_KIND: kind.__name__, "items": [_plain(item) for item in value]}  # type: ignore[attr-defined]
    match value:
        case deque() if kind is deque:
            return {_KIND: "deque", "items": [_plain(item) for item in value], "maxlen": value.maxlen}
        case dict() if kind in (dict, OrderedDict):
            return {_KIND: kind.__name__, "items": [(_plain(k), _plain(v)) for k, v in value.items()]}
        case np.ndarray() if value.dtype != object:
            return {_KIND: "array", "bytes": value.tobytes(), "dtype": value.dtype.str, "shape": value.shape}
        case np.generic():
            return {_KIND: "scalar", "bytes": value.tobytes(), "dtype": value.dtype.str}
        case torch.Generator():
            return {_KIND: "torch.Generator", "state": value.get_state(), "device": str(value.device)}
        case random.Random() if kind is random.Random:
            version, internal, gauss = value.getstate()
            return {_KIND: "random.Random", "state": [version, list(internal), gauss]}
        case np.random.Generator():
            bits = value.bit_generator
            return {_KIND: "numpy", "name": type(bits).__name__, "state": _plain(dict(bits.state))}
    raise UnsavedError(f"a {kind.__module__}.{kind.__qualname__}".replace("builtins.", ""))


def _restored(value: Any) -> Any:
    """The inverse of `_plain`."""
    if not isinstance(value, dict) or _KIND not in value:
        return value
    match value[_KIND]:
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
            kinds = {kind.__name__: make for kind, make in _COLLECTIONS.items()}
            return kinds[name]([_restored(item) for item in value["items"]])
