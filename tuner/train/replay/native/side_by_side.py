"""Which operations of a step go through their tensors side by side, a piece at a time, which stays in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tuner.train.replay.native.translation import INPUTS, NAMES

ELEMENTWISE = {*INPUTS, "copy", "relu", "leaky_relu", "mul_scalar", "add_scalar", "div_scalar", "rsqrt", "sign"}
LONG = 8192
"""Elements from which on it pays: less stays in the cache anyway."""


class _Operand(NamedTuple):
    """A tensor of an elementwise operation."""

    address: int
    apart: int
    """Bytes from trial to trial."""
    stride: int
    size: int
    """Bytes for each trial."""


def side_by_side(operations: NDArray[np.void], *, num_trials: int) -> None:
    """Note which operations go through their tensors side by side: those in a row, all long and elementwise.

    None of them touches what another one writes but at the same element.

    Args:
        operations: Of a step, of type `OPERATION`; their `together` is set.
        num_trials: That each of them is run for.
    """
    could_be = (operations["n"][:, :2] == 1).all(axis=1) & (operations["n"][:, 2] >= LONG)
    operands = [_operands(operation) if could else [] for operation, could in zip(operations, could_be, strict=True)]
    first = 0
    while first < len(operations):
        end = first + 1
        while end < len(operations) and all(_apart(operands[i], operands[end], num_trials) for i in range(first, end)):
            end += 1
        operations[first]["together"] = end - first
        first = end


def _apart(one: Sequence[_Operand], other: Sequence[_Operand], num_trials: int) -> bool:
    if not one or not other:
        return False
    pairs = [(one[0], operand) for operand in other] + [(other[0], operand) for operand in one]
    return all(_same_element(a, b) or _disjoint(a, b, num_trials) for a, b in pairs)


def _same_element(a: _Operand, b: _Operand) -> bool:
    return (a.address, a.apart, a.stride) == (b.address, b.apart, b.stride)


def _disjoint(a: _Operand, b: _Operand, num_trials: int) -> bool:
    (a_end, b_end) = (o.address + (num_trials - 1) * o.apart + o.size for o in (a, b))
    return a_end <= b.address or b_end <= a.address


def _operands(operation: np.void) -> list[_Operand]:
    """Output and inputs of a long operation; none if it is not elementwise."""
    name, length = NAMES[operation["code"]], int(operation["n"][2])
    if name not in ELEMENTWISE:
        return []
    found = []
    for place in range(1 + INPUTS.get(name, 1)):
        stride = int(operation["s"][place][2])
        size = 4 * length if stride else 4
        found.append(_Operand(int(operation["p"][place]), int(operation["t"][place]), stride, size))
    strides = [operand.stride for operand in found]
    return found if strides[0] == 1 and set(strides) <= {0, 1} else []
