"""What a module holds besides tensors, packed into tensors of bytes: they travel with its weights, and run no code.

A packed value has a name that begins with `MARK`. In a file of weights it stands in the state dict's metadata, which
`load_state_dict` passes over, so that the file stays a state dict like any other.
"""

from __future__ import annotations

import io
import random
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tuner.errors import StorageError
from tuner.models.unpacked import COLLECTIONS, EXTRA, KIND, MARK, METADATA, OtherNetworkError, read_trained, unpacked


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
        found._metadata = {"": {"version": 1, METADATA: aside}}  # type: ignore[attr-defined]
    with path.open("wb") as file:  # by its path, PyTorch calls a full disk many things
        torch.save(found if aside else dict(found), file)


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


def _plain(value: object) -> object:
    """Made of what PyTorch reads without running code."""
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if isinstance(value, Tensor) and kind is Tensor:
        return value.detach()
    if kind in COLLECTIONS:
        return {KIND: kind.__name__, "items": [_plain(item) for item in value]}  # type: ignore[attr-defined]
    match value:
        case deque() if kind is deque:
            return {KIND: "deque", "items": [_plain(item) for item in value], "maxlen": value.maxlen}
        case dict() if kind in (dict, OrderedDict):
            return {KIND: kind.__name__, "items": [(_plain(k), _plain(v)) for k, v in value.items()]}
        case np.ndarray() if value.dtype != object:
            return {KIND: "array", "bytes": value.tobytes(), "dtype": value.dtype.str, "shape": value.shape}
        case np.generic():
            return {KIND: "scalar", "bytes": value.tobytes(), "dtype": value.dtype.str}
        case torch.Generator():
            return {KIND: "torch.Generator", "state": value.get_state(), "device": str(value.device)}
        case random.Random() if kind is random.Random:
            version, internal, gauss = value.getstate()
            return {KIND: "random.Random", "state": [version, list(internal), gauss]}
        case np.random.Generator():
            bits = value.bit_generator
            return {KIND: "numpy", "name": type(bits).__name__, "state": _plain(dict(bits.state))}
    raise UnsavedError(f"a {kind.__module__}.{kind.__qualname__}".replace("builtins.", ""))
