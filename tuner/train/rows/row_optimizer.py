"""What all optimisers on rows share: penalties, clipping, and scalars by step, with every hyperparameter a vector.

What changes from step to step is computed on the host, in float64, for a whole epoch at once (`scalars`), so that a
step never waits for the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tuner.train.rows.proximal import pull_to_zero, thresholds
from tuner.train.settings import Settings

_LONG = 2**23
"""Numbers: a longer row of one trial is updated in parts, which stay in the cache, as does what is worked out on the
way. Steps with such a state are not recorded (`replay.ReplayedStep`)."""
_AT_ONCE = 2**17
"""Whole vectors, so that no number is computed otherwise."""

Groups = list[dict[str, Any]]
"""Parameters of a module, with their weight decay."""
Scalars = dict[str, Tensor]
"""The step's value of each scalar by name, shape (K, 1)."""


class RowOptimizer:
    """Base: what the kinds share. Rows have P entries, the first `num_decayed` of which are weights."""

    moments: ClassVar[tuple[str, ...]] = ()
    """Names of the state tensors, each in the rows' shape and zero at the start."""
    decouples_decay: ClassVar[bool] = False
    """Whether weight decay shrinks the weights by the scalar `shrink`, and leaves the gradient as it is."""

    def __init__(
        self, settings: Sequence[Settings], *, num_decayed: int, shares: Mapping[str, Tensor] = MappingProxyType({})
    ) -> None:
        """Prepare the updates.

        Args:
            settings: Of the trials.
            num_decayed: Weights of a row.
            shares: Of the penalties that a trial has by layer, see `penalties.row_shares`.
        """
        self.settings = tuple(settings)
        self.num_decayed = num_decayed
        self._share_of = dict(shares)
        self.uses_weight_decay = any(s.weight_decay for s in settings)
        self.uses_l1 = any(s.l1 and not s.selects for s in settings)
        self.selects = any(s.selects for s in settings)
        self.uses_clipping = any(s.clip_norm is not None for s in settings)
        self._constants = {
            "weight_decay": self.vector("weight_decay"),
            "l1": self.vector("l1"),
            "clip_norm": np.array([np.inf if s.clip_norm is None else s.clip_norm for s in settings]),
        }
        self._scratch: Tensor | None = None

    def take(self, settings: Sequence[Settings]) -> bool:
        """Go on with the values of other trials; False, and nothing changes, if a step has other operations then."""
        if self._share_of or any(s.by_layer for s in settings):
            return False
        other = type(self)(settings, num_decayed=self.num_decayed)
        if _switches(other) != _switches(self):
            return False
        self.settings, self._constants = other.settings, other._constants
        return True

    def vector(self, name: str) -> npt.NDArray[np.float64]:
        return np.array([getattr(s, name) for s in self.settings], dtype=np.float64)

    def scalars(
        self, learning_rate_SK: npt.NDArray[np.float64], step_SK: npt.NDArray[np.int64]
    ) -> dict[str, npt.NDArray[np.float64]]:
        """Each scalar for every step of an epoch, shape (steps, K)."""
        table = self._constants | self.own_scalars(learning_rate_SK, step_SK + 1)
        if self.selects:
            rate_SK = learning_rate_SK * self.shares(step_SK + 1)
            pulls = [thresholds(s, rate_S) for s, rate_S in zip(self.settings, rate_SK.T, strict=True)]
            table["threshold"] = np.stack(pulls, axis=1)
        if self.decouples_decay and "weight_decay" in self._share_of:
            table["negative_decay"] = -learning_rate_SK * self.vector("weight_decay")
        return {name: np.broadcast_to(value, learning_rate_SK.shape) for name, value in table.items()}

    def shares(self, count_SK: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """`rate_shares` of all trials, shape (steps, K)."""
        return np.ones(count_SK.shape)

    def own_scalars(
        self, learning_rate_SK: npt.NDArray[np.float64], count_SK: npt.NDArray[np.int64]
    ) -> dict[str, npt.NDArray[np.float64]]:
        """The kind's own scalars, of shape (steps, K) or (K,); `count_SK` is the number of updates with this one."""
        raise AssertionError("each kind defines its scalars")

    def step(self, p_KP: Tensor, g_KP: Tensor, moments: dict[str, Tensor], scalars: Scalars) -> None:
        """Update the rows in place from their gradients, which are overwritten."""
        weights, weight_grads = p_KP[:, : self.num_decayed], g_KP[:, : self.num_decayed]
        # In the order of the plain loop: what is clipped is the gradient with L1; L2 comes after, in the optimiser.
        if self.uses_l1:
            weight_grads.addcmul_(self._shared("l1", torch.sign(weights)), scalars["l1"])
        if self.uses_clipping:
            norm_K1 = torch.linalg.vector_norm(g_KP, dim=1, keepdim=True)
            # The 1e-6 is that of `torch.nn.utils.clip_grad_norm_`.
            g_KP.mul_((scalars["clip_norm"] / (norm_K1 + 1e-6)).clamp_max_(1.0))
        if self.uses_weight_decay:
            self.decay(weights, weight_grads, scalars)
        if len(p_KP) == 1 and p_KP.shape[1] > _LONG and p_KP.device.type == "cpu":
            for first in range(0, p_KP.shape[1], _AT_ONCE):
                part = slice(first, first + _AT_ONCE)
                own = {name: moment[:, part] for name, moment in moments.items()}
                self.update(p_KP[:, part], g_KP[:, part], own, scalars)
        else:
            self.update(p_KP, g_KP, moments, scalars)
        if self.selects:
            pull_to_zero(weights, self._shared("l1", scalars["threshold"]))

    def decay(self, weights: Tensor, weight_grads: Tensor, scalars: Scalars) -> None:
        """L2: add weight_decay * w to the gradient of the weights; or decoupled from it, shrink them."""
        shared = self._shared("weight_decay", weights)
        if not self.decouples_decay:
            weight_grads.addcmul_(shared, scalars["weight_decay"])
        elif shared is weights:
            weights.mul_(scalars["shrink"])
        else:
            weights.addcmul_(shared, scalars["negative_decay"])

    def _shared(self, penalty: str, values: Tensor) -> Tensor:
        """Values times each weight's share of the penalty, where a trial has it by layer."""
        return values if penalty not in self._share_of else values * self._share_of[penalty]

    def update(self, p_KP: Tensor, g_KP: Tensor, moments: dict[str, Tensor], scalars: Scalars) -> None:
        """Update rows, or a part of their length: each number from those at its own place."""
        raise AssertionError("each kind defines its update")

    @staticmethod
    def rate_shares(settings: Settings, count_S: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The share of the learning rate at each update of one trial: see `momentum.rate_shares`."""
        return np.ones(len(count_S))

    @staticmethod
    def of_module(groups: Groups, settings: Settings) -> torch.optim.Optimizer:
        """The namesake, for the parameters of one trial's plain module."""
        raise AssertionError("each kind has a namesake")

    def scratch(self, like: Tensor) -> Tensor:
        if self._scratch is None:
            self._scratch = torch.empty_like(like)
        return self._scratch if self._scratch.shape == like.shape else self._scratch[:, : like.shape[1]]


def _switches(optimizer: RowOptimizer) -> dict[str, bool]:
    """What decides which operations a step has."""
    return {name: value for name, value in vars(optimizer).items() if isinstance(value, bool)}
