"""Gaussian noise on the weights while a step's gradients are computed (An 1996; Goodfellow et al. 2016, section 7.5).

The gradient is that of the weights with noise, and the update is made to the weights without. What is drawn for a
weight is a pure function of the trial's seed, of the step and of the weight's place among the weights of its network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tuner.models.keyed import dropout_field, step_keys
from tuner.models.layers.layer import Parameter, is_weight
from tuner.models.module import module_shapes
from tuner.train.program import EpochPlan, Member
from tuner.train.rows.rows import RowLayout

KEY = "weight noise"
"""Among what a step reads: the key of its noise."""
_BITS = 24
"""Of a draw: as many as float32 holds."""


def noise_keys(members: Sequence[Member], plan: EpochPlan) -> Tensor:
    """The keys of an epoch's steps, int32 on the host, (steps, K)."""
    return torch.from_numpy(step_keys([m.seed for m in members], KEY, plan.step_SK))


class RowNoise:
    """The noise of K trials whose parameters are rows; all of them have some, or none has (`programs.fusion`)."""

    def __init__(
        self,
        members: Sequence[Member],
        layout: RowLayout,
        p_KP: Tensor,
        names: Mapping[Parameter, str],
        *,
        inputs_first: bool,
    ) -> None:
        """Prepare the noise.

        Args:
            members: The trials.
            layout: Of the rows.
            p_KP: The rows, whose weights have noise between `add` and `remove`.
            names: Of the parameters in the trials' modules.
            inputs_first: Matrices are of shape (inputs, units), not (units, inputs) as in the modules.
        """
        self.active = any(m.settings.weight_noise for m in members)
        if not self.active:
            return
        self._weights = p_KP[:, : layout.num_decayed]
        self._clean = torch.zeros_like(self._weights)
        field_KP = torch.zeros(p_KP.shape, dtype=torch.int32)
        scale_KP = torch.zeros(p_KP.shape)
        for row, member in enumerate(members):
            shapes = _shapes(member, names)
            fields = _fields(shapes, torch.device("cpu"))
            frozen = member.transfer.frozen if member.transfer else frozenset()
            for parameter, name in names.items():
                if not parameter.decayed or name in frozen:
                    continue
                field = fields[name].T if inputs_first and len(shapes[name]) == 2 else fields[name]
                own = tuple(slice(0, size) for size in field.shape)  # what rounding has added stays zero
                layout.view(field_KP[row : row + 1], parameter)[0][own] = field
                layout.view(scale_KP[row : row + 1], parameter)[0][own] = _scale(member.settings.weight_noise)
        self._field, self._scales = (
            rows[:, : layout.num_decayed].contiguous().to(p_KP.device) for rows in (field_KP, scale_KP)
        )

    @torch.no_grad()
    def add(self, key_K: Tensor) -> None:
        """Put noise on the weights."""
        self._clean.copy_(self._weights)
        self._weights.add_(_drawn(self._field, key_K.unsqueeze(1)) * self._scales)

    def remove(self) -> None:
        """Give the weights back as they were, to the bit."""
        self._weights.copy_(self._clean)


class ModuleNoise:
    """The same for one trial's plain module."""

    def __init__(self, member: Member, module: nn.Module) -> None:
        self.active = member.settings.weight_noise > 0
        self._scale = _scale(member.settings.weight_noise)
        named = dict(module.named_parameters()) if self.active else {}
        device = next(iter(named.values())).device if named else torch.device("cpu")
        fields = _fields({name: p.shape for name, p in named.items()}, device)
        self._weights = [(named[name], field) for name, field in fields.items() if named[name].requires_grad]
        self._clean: list[Tensor] = []

    @torch.no_grad()
    def add(self, key: Tensor) -> None:
        """Put noise on the weights."""
        self._clean = [weight.clone() for weight, _ in self._weights]
        for weight, field in self._weights:
            weight.add_(_drawn(field, key) * self._scale)

    @torch.no_grad()
    def remove(self) -> None:
        """Give the weights back as they were, to the bit."""
        for (weight, _), clean in zip(self._weights, self._clean, strict=True):
            weight.copy_(clean)


def _shapes(member: Member, names: Mapping[Parameter, str]) -> Mapping[str, Sequence[int]]:
    """Of the parameters in the trial's own module."""
    if member.network is not None:
        return module_shapes(member.network)
    return {name: parameter.shape for parameter, name in names.items()}


def _fields(shapes: Mapping[str, Sequence[int]], device: torch.device) -> dict[str, Tensor]:
    """The numbers that the draws of each weight come from: one long field for all, part by part."""
    weights = {name: tuple(shape) for name, shape in shapes.items() if is_weight(shape)}
    sizes = [math.prod(shape) for shape in weights.values()]
    parts = torch.split(dropout_field(sum(sizes), device), sizes) if sizes else ()
    return {name: part.view(shape) for (name, shape), part in zip(weights.items(), parts, strict=True)}


def _drawn(field: Tensor, key: Tensor) -> Tensor:
    """Normal numbers of standard deviation 1 / sqrt(2), from uniform ones that are neither -1 nor 1."""
    uniform = ((field * key) >> (32 - _BITS)).float().add_(0.5).mul_(2.0 ** (1 - _BITS))
    return torch.erfinv(uniform)


def _scale(standard_deviation: float) -> float:
    return math.sqrt(2.0) * standard_deviation
