"""The optimisers on rows of parameters; each follows its namesake in `torch.optim` operation by operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tuner.train.rows import momentum
from tuner.train.rows.lion import Lion
from tuner.train.rows.row_optimizer import Groups, RowOptimizer, Scalars
from tuner.train.settings import Settings

_NADAM_DECAY = 4e-3
"""Of the momentum's distance from its limit, as in `torch.optim`."""


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
