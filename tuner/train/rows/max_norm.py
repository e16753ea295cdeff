"""A limit on the norm of each unit's incoming weights (max-norm; Srivastava et al. 2014, JMLR 15, section 5.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tuner.models.layers.layer import is_weight
from tuner.train.rows.rows import RowLayout
from tuner.train.settings import Settings

_SMALLEST = 1e-12
"""Norm below which weights are as good as zero: they are left alone, instead of being divided by it."""


class RowMaxNorm:
    """The limits of K trials whose parameters are rows; without any, `apply` does nothing."""

    def __init__(self, settings: Sequence[Settings], layout: RowLayout, *, inputs_first: bool, device: torch.device):
        """Prepare the limits.

        Args:
            settings: Of the trials; one without a limit keeps its weights to the bit.
            layout: Of the rows.
            inputs_first: Matrices are of shape (inputs, units), not (units, inputs).
            device: Of the rows.
        """
        self._limits_K = _limits(settings).to(device)
        self.active = bool(self._limits_K.isfinite().any())
        """Whether any trial has a limit."""
        self._weights = [p for p in layout.parameters if p.decayed] if self.active else []
        self._layout = layout
        self._inputs_first = inputs_first

    def take(self, settings: Sequence[Settings]) -> bool:
        """Go on with the limits of other trials; False, and nothing changes, if there were none, or are none now."""
        limits = _limits(settings)
        if bool(limits.isfinite().any()) != self.active:
            return False
        self._limits_K.copy_(limits)
        return True

    @torch.no_grad()
    def apply(self, p_KP: Tensor) -> None:
        """Shrink the weights of each unit that are longer than the limit, in place."""
        for parameter in self._weights:
            weight = self._layout.view(p_KP, parameter)
            matrix = self._inputs_first and weight.dim() == 3
            over = (1,) if matrix else tuple(range(2, weight.dim()))
            norm = (weight * weight).sum(dim=over, keepdim=True).sqrt_()
            limit = self._limits_K.view(-1, *[1] * (weight.dim() - 1))
            weight.mul_(_factor(norm, limit))


def _limits(settings: Sequence[Settings]) -> Tensor:
    return torch.tensor([math.inf if s.max_norm is None else s.max_norm for s in settings])


@torch.no_grad()
def limit_norms(module: nn.Module, limit: float) -> None:
    """The same for a plain module, whose weights are of shape (units, ...)."""
    for weight in module.parameters():
        if is_weight(weight.shape) and weight.requires_grad:
            norm = (weight * weight).sum(dim=tuple(range(1, weight.dim())), keepdim=True).sqrt_()
            weight.mul_(_factor(norm, torch.full((), limit, device=weight.device)))


def _factor(norm: Tensor, limit: Tensor) -> Tensor:
    return (limit / norm.clamp_min_(_SMALLEST)).clamp_max_(1.0)
