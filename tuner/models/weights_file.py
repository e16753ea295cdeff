"""Files of weights, such as other programs write them; no code in one is run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tuner.errors import DataError, TunerError
from tuner.imports import require
from tuner.spec.model import SweepSpec

_NESTED = ("state_dict", "model_state_dict", "model")
"""Where other programs keep the weights inside a checkpoint."""
_PREFIX = "module."
"""What `DataParallel` puts before each name."""


def read_weights(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a state dict (.pt, .pth) or of a safetensors file, by name. No code in the file is run.

    Raises:
        DataError: there is no such file, or it holds no state dict.
        MissingExtraError: safetensors is not installed.
    """
    try:
        stamp = path.stat()
    except OSError as error:
        raise DataError(f"model.init_from: no such file: {path}") from error
    return _read_weights(path, stamp.st_mtime_ns, stamp.st_size)


def weights_sha256(spec: SweepSpec) -> str:
    """SHA-256 of the file that `model.init_from` names; empty without one.

    Raises:
        DataError: it cannot be read.
    """
    if spec.model.init_from is None:
        return ""
    path = Path(spec.root, spec.model.init_from)
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"model.init_from: {path} cannot be read: {error.strerror}") from error


@lru_cache(maxsize=2)
def _read_weights(path: Path, changed: int, size: int) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            found: Any = require("safetensors.torch", extra="safetensors").load_file(str(path))
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except TunerError:
        raise
    except Exception as error:  # a forged or foreign file may make the readers raise anything
        raise DataError(
            f"model.init_from: {path} holds no state dict that can be loaded safely: {_first(error)}"
        ) from None
    for key in _NESTED:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found or not all(isinstance(t, Tensor) for t in found.values()):
        raise DataError(f"model.init_from: {path} holds no state dict, names of tensors and the tensors")
    if all(str(name).startswith(_PREFIX) for name in found):
        found = {name.removeprefix(_PREFIX): t for name, t in found.items()}
    return {str(name): t for name, t in found.items()}


def _first(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
