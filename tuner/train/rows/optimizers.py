"""Optimisers on rows of parameters, with every hyperparameter a vector over the trials.

Each follows its namesake in `torch.optim` operation by operation. What changes from step to step is computed on the
host, in float64, for a whole epoch at once (`scalars`), so that a step never waits for the device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tuner.train.rows import momentum
from tuner.train.rows.lion import Lion
from tuner.train.rows.proximal import pull_to_zero, thresholds
from tuner.train.settings import Settings

_NADAM_DECAY = 4e-3
"""Of the momentum's distance from its limit, as in `torch.optim`."""

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


class _MomentumOptimizer(RowOptimizer):
    """One with `momentum`, which `dampening` turns into an average."""

    rate_shares = staticmethod(momentum.rate_shares)

    def shares(self, count_SK: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        if not any(momentum.shares_rate(s) for s in self.settings):
            return super().shares(count_SK)
        pairs = zip(self.settings, count_SK.T, strict=True)
        return np.stack([self.rate_shares(s, count_S) for s, count_S in pairs], axis=1)

    def own_scalars(
        self, learning_rate_SK: npt.NDArray[np.float64], count_SK: npt.NDArray[np.int64]
    ) -> dict[str, npt.NDArray[np.float64]]:
        return {"negative_rate": -learning_rate_SK * self.shares(count_SK), "momentum": self.vector("momentum")}


class _RowSGD(_MomentumOptimizer):
    """SGD with momentum: v = beta v + g, p -= alpha v; with Nesterov p -= alpha (g + beta v)."""

    moments = ("velocity",)

    def __init__(
        self, settings: Sequence[Settings], *, num_decayed: int, shares: Mapping[str, Tensor] = MappingProxyType({})
    ) -> None:
        super().__init__(settings, num_decayed=num_decayed, shares=shares)
        self.nesterov = settings[0].nesterov

    def update(self, p_KP: Tensor, g_KP: Tensor, moments: dict[str, Tensor], scalars: Scalars) -> None:
        velocity = moments["velocity"]
        velocity.mul_(scalars["momentum"]).add_(g_KP)
        if self.nesterov:
            velocity = torch.addcmul(g_KP, velocity, scalars["momentum"], out=self.scratch(p_KP))
        p_KP.addcmul_(velocity, scalars["negative_rate"])

    @staticmethod
    def of_module(groups: Groups, settings: Settings) -> torch.optim.Optimizer:
        nesterov = settings.nesterov and settings.momentum > 0  # torch refuses what makes no difference
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=settings.momentum, nesterov=nesterov)


class _RowRMSprop(_MomentumOptimizer):
    """RMSprop (Hinton's lecture 6e), with momentum on the scaled gradient."""

    moments = ("square", "velocity")

    def own_scalars(
        self, learning_rate_SK: npt.NDArray[np.float64], count_SK: npt.NDArray[np.int64]
    ) -> dict[str, npt.NDArray[np.float64]]:
        alpha = self.vector("beta2")
        return super().own_scalars(learning_rate_SK, count_SK) | {
            "alpha": alpha,
            "one_minus_alpha": 1.0 - alpha,
            "epsilon": self.vector("epsilon"),
        }

    def update(self, p_KP: Tensor, g_KP: Tensor, moments: dict[str, Tensor], scalars: Scalars) -> None:
        square, velocity, scratch = moments["square"], moments["velocity"], self.scratch(p_KP)
        torch.mul(g_KP, g_KP, out=scratch)
        square.mul_(scalars["alpha"]).addcmul_(scratch, scalars["one_minus_alpha"])
        torch.sqrt(square, out=scratch)
        scratch.add_(scalars["epsilon"])
        torch.div(g_KP, scratch, out=scratch)
        velocity.mul_(scalars["momentum"]).add_(scratch)
        p_KP.addcmul_(velocity, scalars["negative_rate"])

    @staticmethod
    def of_module(groups: Groups, settings: Settings) -> torch.optim.Optimizer:
        rate, alpha, eps = settings.learning_rate, settings.beta2, settings.epsilon
        return torch.optim.RMSprop(groups, lr=rate, alpha=alpha, eps=eps, momentum=settings.momentum)


class _RowAdam(RowOptimizer):
    """Adam (arXiv 1412.6980)."""

    moments: ClassVar[tuple[str, ...]] = ("first", "second")

    def own_scalars(
        self, learning_rate_SK: npt.NDArray[np.float64], count_SK: npt.NDArray[np.int64]
    ) -> dict[str, npt.NDArray[np.float64]]:
        beta1, beta2 = self.vector("beta1"), self.vector("beta2")
        corrects = self.vector("corrects_bias") > 0
        return {
            "beta1": beta1,
            "one_minus_beta1": 1.0 - beta1,
            "beta2": beta2,
            "one_minus_beta2": 1.0 - beta2,
            "negative_rate": -learning_rate_SK / np.where(corrects, 1.0 - beta1**count_SK, 1.0),
            "root_correction": 1.0 / np.sqrt(np.where(corrects, 1.0 - beta2**count_SK, 1.0)),
            "epsilon": self.vector("epsilon"),
            "shrink": 1.0 - learning_rate_SK * self.vector("weight_decay"),
        }

    def update(self, p_KP: Tensor, g_KP: Tensor, moments: dict[str, Tensor], scalars: Scalars) -> None:
        first, second, scratch = moments["first"], moments["second"], self.scratch(p_KP)
        first.mul_(scalars["beta1"]).addcmul_(g_KP, scalars["one_minus_beta1"])
        torch.mul(g_KP, g_KP, out=scratch)
        second.mul_(scalars["beta2"]).addcmul_(scratch, scalars["one_minus_beta2"])
        self.root(moments, scratch)
        scratch.mul_(scalars["root_correction"]).add_(scalars["epsilon"])
        self.apply(p_KP, g_KP, first, scratch, scalars)

    def root(self, moments: dict[str, Tensor], scratch: Tensor) -> None:
        """Write the root of the second moment that steps are divided by, before its correction."""
        torch.sqrt(moments["second"], out=scratch)

    def apply(self, p_KP: Tensor, g_KP: Tensor, first: Tensor, root: Tensor, scalars: Scalars) -> None:
        """Change the rows, given the moments; `root` is overwritten."""
        torch.div(first, root, out=root)
        p_KP.addcmul_(root, scalars["negative_rate"])

    @staticmethod
    def of_module(groups: Groups, settings: Settings) -> torch.optim.Optimizer:
        return momentum.adam(torch.optim.Adam, groups, settings)


class _RowAdamW(_RowAdam):
    """Adam with weight decay decoupled from the gradient (arXiv 1711.05101)."""

    decouples_decay = True

    @staticmethod
    def of_module(groups: Groups, settings: Settings) -> torch.optim.Optimizer:
        return momentum.adam(torch.optim.AdamW, groups, settings)


class _RowAMSGrad(_RowAdam):
    """Adam with the largest second moment so far (arXiv 1904.09237)."""

    moments = ("first", "second", "largest")

    def root(self, moments: dict[str, Tensor], scratch: Tensor) -> None:
        torch.maximum(moments["largest"], moments["second"], out=moments["largest"])
        torch.sqrt(moments["largest"], out=scratch)

    @staticmethod
    def of_module(groups: Groups, settings: Settings) -> torch.optim.Optimizer:
        return momentum.adam(torch.optim.Adam, groups, settings, amsgrad=True)


class _RowNAdam(_RowAdam):
    """Adam with Nesterov's momentum (Dozat 2016), with the momentum schedule of `torch.optim`."""

    def own_scalars(
        self, learning_rate_SK: npt.NDArray[np.float64], count_SK: npt.NDArray[np.int64]
    ) -> dict[str, npt.NDArray[np.float64]]:
        counts = np.arange(1, int(count_SK.max()) + 2)[:, None]
        mu_CK = self.vector("beta1") * (1.0 - 0.5 * 0.96 ** (counts * _NADAM_DECAY))
        product_CK = np.cumprod(mu_CK, axis=0)
        trials = np.arange(count_SK.shape[1])[None]
        mu, product = mu_CK[count_SK - 1, trials], product_CK[count_SK - 1, trials]
        mu_next, product_next = mu_CK[count_SK, trials], product_CK[count_SK, trials]
        return super().own_scalars(learning_rate_SK, count_SK) | {
            "negative_rate": -learning_rate_SK * mu_next / (1.0 - product_next),
            "negative_gradient_rate": -learning_rate_SK * (1.0 - mu) / (1.0 - product),
        }

    def apply(self, p_KP: Tensor, g_KP: Tensor, first: Tensor, root: Tensor, scalars: Scalars) -> None:
        p_KP.addcmul_(torch.div(g_KP, root), scalars["negative_gradient_rate"])
        super().apply(p_KP, g_KP, first, root, scalars)

    @staticmethod
    def of_module(groups: Groups, settings: Settings) -> torch.optim.Optimizer:
        return torch.optim.NAdam(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.epsilon)


class _RowLion(RowOptimizer):
    """The sign of a mixture of momentum and gradient, with decoupled weight decay (arXiv 2302.06675)."""

    moments = ("first",)
    decouples_decay = True

    def own_scalars(
        self, learning_rate_SK: npt.NDArray[np.float64], count_SK: npt.NDArray[np.int64]
    ) -> dict[str, npt.NDArray[np.float64]]:
        beta1, beta2 = self.vector("beta1"), self.vector("beta2")
        return {
            "beta1": beta1,
            "one_minus_beta1": 1.0 - beta1,
            "beta2": beta2,
            "one_minus_beta2": 1.0 - beta2,
            "negative_rate": -learning_rate_SK,
            "shrink": 1.0 - learning_rate_SK * self.vector("weight_decay"),
        }

    def update(self, p_KP: Tensor, g_KP: Tensor, moments: dict[str, Tensor], scalars: Scalars) -> None:
        first, scratch = moments["first"], self.scratch(p_KP)
        torch.mul(first, scalars["beta1"], out=scratch)
        scratch.addcmul_(g_KP, scalars["one_minus_beta1"])
        # The sign of NaN is 0: without the difference, a trial that diverged would stand still instead.
        direction = torch.sign(scratch).add_(scratch - scratch)
        p_KP.addcmul_(direction, scalars["negative_rate"])
        first.mul_(scalars["beta2"]).addcmul_(g_KP, scalars["one_minus_beta2"])

    @staticmethod
    def of_module(groups: Groups, settings: Settings) -> torch.optim.Optimizer:
        return Lion(groups, lr=settings.learning_rate, betas=settings.betas)


ROW_OPTIMIZERS: dict[str, type[RowOptimizer]] = {
    "sgd": _RowSGD,
    "rmsprop": _RowRMSprop,
    "adam": _RowAdam,
    "adamw": _RowAdamW,
    "amsgrad": _RowAMSGrad,
    "nadam": _RowNAdam,
    "lion": _RowLion,
}
