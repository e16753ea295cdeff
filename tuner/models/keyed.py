"""Random numbers as pure functions of where they are used.

Every random number of a trial depends on (trial seed, purpose, epoch or step, layer, element) and on nothing
else. So a trial computes the same alone, in any cohort and after a resume, and no generator state is ever saved.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


def _mix(z: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection of 64-bit numbers that looks random."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return z ^ (z >> 31)


@lru_cache(maxsize=64)
def _purpose_number(purpose: str) -> int:
    return zlib.crc32(purpose.encode())


def key(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit number for one use of randomness: a trial's seed, what it is for, and where."""
    z = _mix(seed & _MASK)
    for part in (_purpose_number(purpose), *position):
        z = _mix((z ^ (part & _MASK)) + _GOLDEN & _MASK)
    return z >> 1


def keys(seeds: npt.NDArray[np.uint64], purpose: str, *position: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """`key` for arrays of seeds and positions that broadcast together."""
    z = _mix_array(seeds)
    for part in (np.asarray(_purpose_number(purpose), dtype=np.uint64), *position):
        z = _mix_array((z ^ part) + np.uint64(_GOLDEN))
    return z >> np.uint64(1)


def _mix_array(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def generator(seed: int, purpose: str, *position: int) -> torch.Generator:
    """A CPU generator seeded with `key`; for draws that are made whole, such as initial weights."""
    return torch.Generator().manual_seed(key(seed, purpose, *position))


def seed_module(seed: int, step: int, device: torch.device) -> None:
    """Key what a LightningModule draws by itself, from the library's own generators, by the trial and the step."""
    seed_library(key(seed, "module", step), device)


def seed_library(number: int, device: torch.device) -> None:
    """Seed the library's own generators, on the CPU and on the device."""
    # torch.manual_seed takes 0.3 ms where there is no accelerator: it remembers a stack trace for each kind.
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(number)
    elif device.type == "mps":
        torch.mps.manual_seed(number)


def batch_order(seed: int, epoch: int, num_examples: int) -> Tensor:
    """The order in which an epoch visits the examples: int64, shape (num_examples,)."""
    return torch.randperm(num_examples, generator=generator(seed, "order", epoch))


def dropout_keys(seeds: list[int], steps: npt.NDArray[np.int64], num_layers: int) -> npt.NDArray[np.int32]:
    """Multipliers of the dropout fields: odd int32, shape (steps, layers, trials).

    Args:
        seeds: One for each trial.
        steps: Global step numbers, shape (steps, trials).
        num_layers: Dropout layers of the network.
    """
    found = keys(
        np.asarray(seeds, dtype=np.uint64),
        "dropout",
        steps.astype(np.uint64)[:, None, :],
        np.arange(num_layers, dtype=np.uint64)[None, :, None],
    )
    return (found.astype(np.uint32) | np.uint32(1)).view(np.int32)


def step_keys(seeds: list[int], purpose: str, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """Multipliers of a field for one purpose, as those of dropout: odd int32, shape (steps, trials)."""
    found = keys(np.asarray(seeds, dtype=np.uint64), purpose, steps.astype(np.uint64))
    return (found.astype(np.uint32) | np.uint32(1)).view(np.int32)


FIELD_BYTES = 2**31
"""Fields that are kept for their next use, of all sizes and devices together."""
_FIELD_BLOCK = 2**20
_fields: OrderedDict[tuple[int, torch.device], Tensor] = OrderedDict()
"""The one that was asked for last comes last."""
_holders: list[list[Tensor]] = []


@contextmanager
def fields_held() -> Iterator[list[Tensor]]:
    """All fields that are asked for within the block: who replays what was done there keeps them."""
    held: list[Tensor] = []
    _holders.append(held)
    try:
        yield held
    finally:
        _holders.remove(held)


def dropout_field(num_elements: int, device: torch.device) -> Tensor:
    """Fixed odd int32 numbers, one for each element of one trial's activations of a batch.

    A unit is kept in a step where field * key (modulo 2^32) is at least the threshold of its dropout rate:
    uniform for each element, and one multiplication and one comparison for a whole cohort.
    """
    name = num_elements, device
    if name not in _fields:
        _fields[name] = torch.from_numpy(_new_field(num_elements)).to(device)
    field = _fields[name]
    _fields.move_to_end(name)
    while len(_fields) > 1 and sum(4 * size for size, _ in _fields) > FIELD_BYTES:
        _fields.popitem(last=False)
    for held in _holders:
        held.append(field)
    return field


def _new_field(num_elements: int) -> npt.NDArray[np.int32]:
    field = np.empty(num_elements, dtype=np.uint32)
    for first in range(0, num_elements, _FIELD_BLOCK):  # numbers on the way are of 64 bits
        block = field[first : first + _FIELD_BLOCK]
        numbers = np.arange(first + 1, first + 1 + len(block), dtype=np.uint64)
        block[:] = (_mix_array(numbers * np.uint64(_GOLDEN)) >> np.uint64(16)).astype(np.uint32) | np.uint32(1)
    return field.view(np.int32)


def call_multiplier(call: int) -> int:
    """What a dropout layer's key is multiplied by in a later call of one forward pass: an odd int32."""
    return (_mix(call * _GOLDEN & _MASK) >> 33) | 1


def dropout_threshold(rate: float) -> int:
    """The int32 that a field times a key must reach to keep a unit at this dropout rate in [0, 1)."""
    return min(round(rate * 2**32) - 2**31, 2**31 - 1)
