"""Whether two ways to compute agree, but for rounding."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

TOLERANCE = 1e-2
"""Of what a tensor has changed by, or of outputs: an example at a kink may fall on its other side."""
SMALL = 1e-3
"""The same of what all tensors have changed by, and of a buffer."""
ROUNDING = 1e-5
"""Of a tensor."""


def all_agree(
    ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], *, changes: Mapping[str, float], share: float = 1.0
) -> str | None:
    """The name of the first tensor that does not agree, or None.

    Args:
        ours: Tensors by name.
        theirs: What they should be; others of ours are not looked at.
        changes: The size of what each has changed by, if that is known.
        share: See `agrees`.
    """
    whole = sum(change**2 for change in changes.values()) ** 0.5
    for name, expected in theirs.items():
        change = changes.get(name, SMALL / TOLERANCE * float(expected.double().norm()))
        if name not in ours or not agrees(ours[name], expected, change=change, whole=whole, share=share):
            return name
    return None


def agrees(ours: Tensor, theirs: Tensor, *, change: float, whole: float, share: float = 1.0) -> bool:
    """Whether a tensor is what it should be.

    Args:
        ours: The tensor.
        theirs: What it should be.
        change: The size of what it has changed by.
        whole: The size of what all tensors have changed by.
        share: Of the tolerance of changes, that is allowed.
    """
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    if torch.equal(ours, theirs):
        return True
    if not theirs.is_floating_point():
        return False
    apart = float((ours.double() - theirs.double()).norm())
    return apart <= share * (TOLERANCE * change + SMALL * whole) + ROUNDING * float(theirs.double().norm())
