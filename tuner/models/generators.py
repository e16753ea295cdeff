"""The generators that a user's module may draw from: PyTorch's, NumPy's and Python's own."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tuner.models.keyed import key, seed_library


def seed_generators(seed: int, purpose: str, *position: int, device: torch.device) -> None:
    """Seed all of them for one use of a trial."""
    number = key(seed, purpose, *position)
    seed_library(number, device)
    np.random.seed(number & 0xFFFFFFFF)
    random.seed(number)


@dataclass(frozen=True, slots=True)
class GeneratorStates:
    """Where they stand."""

    library: Tensor
    numpy: tuple[Any, ...]
    python: tuple[Any, ...]
    device: Tensor | None = None
    """That of an accelerator's own."""

    @classmethod
    def now(cls, device: torch.device) -> GeneratorStates:
        return cls(torch.get_rng_state(), _numpy_state(), random.getstate(), _state_on(device))

    def restore(self, device: torch.device) -> None:
        """Let them go on from here."""
        torch.set_rng_state(self.library)
        np.random.set_state(self.numpy)
        random.setstate(self.python)
        present = _state_on(device)
        if self.device is None or present is None or self.device.shape != present.shape:
            return  # it stood on a device of another kind
        if device.type == "cuda":
            torch.cuda.set_rng_state(self.device, device)
        else:
            torch.mps.set_rng_state(self.device)

    def moved(self, device: torch.device) -> list[str]:
        """The names of those that stand elsewhere by now."""
        now = GeneratorStates.now(device)
        same = {
            "PyTorch's": torch.equal(now.library, self.library)
            and (self.device is None or now.device is None or torch.equal(now.device, self.device)),
            "NumPy's": now.numpy[2:] == self.numpy[2:] and bool((now.numpy[1] == self.numpy[1]).all()),
            "Python's": now.python == self.python,
        }
        return [name for name, is_same in same.items() if not is_same]

    # In a checkpoint

    def tensors(self) -> dict[str, Tensor]:
        """The states as tensors on the CPU, by name."""
        _, numbers, *rest = self.numpy
        version, internal, next_gauss = self.python
        found = {
            "library": self.library,
            "numpy": torch.from_numpy(numbers.astype(np.int64)),
            "numpy rest": torch.tensor(rest, dtype=torch.float64),
            "python": torch.tensor(internal, dtype=torch.int64),
            "python rest": torch.tensor([version, math.nan if next_gauss is None else next_gauss], dtype=torch.float64),
        }
        return found if self.device is None else {**found, "device": self.device}

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> GeneratorStates:
        """The inverse of `tensors`."""
        position, has_gauss, gauss = tensors["numpy rest"].tolist()
        version, next_gauss = tensors["python rest"].tolist()
        return cls(
            tensors["library"],
            ("MT19937", tensors["numpy"].numpy().astype(np.uint32), int(position), int(has_gauss), gauss),
            (int(version), tuple(tensors["python"].tolist()), None if math.isnan(next_gauss) else next_gauss),
            tensors.get("device"),
        )


def _state_on(device: torch.device) -> Tensor | None:
    """That of an accelerator's own generator; None for a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


@contextmanager
def generators_kept() -> Iterator[None]:
    """Behind the block they stand where they stood before it."""
    states = GeneratorStates.now(torch.device("cpu"))
    try:
        yield
    finally:
        states.restore(torch.device("cpu"))


def _numpy_state() -> tuple[Any, ...]:
    state = np.random.get_state(legacy=True)
    assert isinstance(state, tuple)
    return state
