"""The normalisations, by the names that a setting `norm` has for them: one class each.

Shapes: K trials, B examples of a batch, F features or channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from tuner.models.layers.layer import Layer, LayerRows, Parameter
from tuner.models.layers.widths import rounded_width

EPS = 1e-5
_BATCH_MOMENTUM = 0.1


@dataclass(frozen=True, slots=True)
class Norm(Layer):
    """A normalisation, then a scale and a shift for each feature."""

    features: int
    spatial: bool = False
    """After a convolution: its features are channels."""

    counters: ClassVar[tuple[str, ...]] = ()
    """Buffers of its module that nothing looks at; in stored weights they are 0."""

    def parameters(self, index: int) -> list[Parameter]:
        size = self.features
        return [
            Parameter(index, "weight", (size,), size, size, start=1.0),
            Parameter(index, "bias", (size,), size, size),
        ]

    def rounded(self) -> Norm:
        return self if self.spatial else type(self)(rounded_width(self.features))

    def broadcast(self, values_KF: Tensor) -> Tensor:
        """A view of one value for each trial and feature that goes with the layer's input."""
        return values_KF.view(len(values_KF), 1, -1, *((1, 1) if self.spatial else ()))


class BatchNorm(Norm):
    """Batch normalisation over the batch, and over height and width (arXiv 1502.03167)."""

    statistics: ClassVar[Mapping[str, float]] = {"running_mean": 0.0, "running_var": 1.0}
    counters: ClassVar[tuple[str, ...]] = ("num_batches_tracked",)

    def module(self) -> nn.Module:
        kind = nn.BatchNorm2d if self.spatial else nn.BatchNorm1d
        return kind(self.features, eps=EPS, momentum=_BATCH_MOMENTUM)

    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        """See `Layer.record`; running mean and variance are updated as the module does.

        Trials whose statistics are held normalise by them in training too.
        """
        tape, weights = rows.tape, rows.weights
        mean_KF, var_KF = rows.statistics["running_mean"], rows.statistics["running_var"]
        over = (1, 3, 4) if self.spatial else (1,)
        count = x[0, :, 0].numel()
        y = tape.memory.like(x)
        gamma, beta = self.broadcast(weights.weight), self.broadcast(weights.bias)
        a_KF, c_KF = torch.zeros_like(mean_KF), torch.zeros_like(mean_KF)
        a, c = self.broadcast(a_KF), self.broadcast(c_KF)
        if not tape.training:

            def evaluate() -> None:
                torch.add(var_KF, EPS, out=a_KF).rsqrt_().mul_(weights.weight)
                torch.addcmul(weights.bias, mean_KF, a_KF, value=-1.0, out=c_KF)
                torch.addcmul(c, x, a, out=y)

            tape.forward.append(evaluate)
            return y

        xhat, product, inverse_KF = tape.memory.like(x), tape.memory.like(x), torch.zeros_like(mean_KF)
        inverse = self.broadcast(inverse_KF)
        held_K1 = None if rows.held_K is None else rows.held_K.unsqueeze(1)

        def normalise_held(held_K1: Tensor) -> None:
            """The batch's mean in `a_KF` and variance in `c_KF` give way to the running ones where these are held."""
            new_mean, new_var = mean_KF.clone(), var_KF.clone()
            new_mean.lerp_(a_KF, _BATCH_MOMENTUM)
            new_var.mul_(1 - _BATCH_MOMENTUM).add_(c_KF, alpha=_BATCH_MOMENTUM * count / max(count - 1, 1))
            a_KF.copy_(torch.where(held_K1, mean_KF, a_KF))
            c_KF.copy_(torch.where(held_K1, var_KF, c_KF))
            mean_KF.copy_(torch.where(held_K1, mean_KF, new_mean))
            var_KF.copy_(torch.where(held_K1, var_KF, new_var))
            torch.sub(x, a, out=xhat)

        def normalise() -> None:
            torch.mean(x, over, out=a_KF)
            torch.sub(x, a, out=xhat)
            torch.mul(xhat, xhat, out=product)
            torch.mean(product, over, out=c_KF)
            if held_K1 is not None:
                normalise_held(held_K1)
            else:
                mean_KF.lerp_(a_KF, _BATCH_MOMENTUM)
                var_KF.mul_(1 - _BATCH_MOMENTUM).add_(c_KF, alpha=_BATCH_MOMENTUM * count / max(count - 1, 1))
            torch.add(c_KF, EPS, out=inverse_KF).rsqrt_()
            xhat.mul_(inverse)
            torch.addcmul(beta, xhat, gamma, out=y)

        dy, dx = tape.memory.gradient(y), tape.memory.gradient(x)

        def differentiate() -> None:
            torch.sum(dy, over, out=weights.bias_grad)
            torch.mul(dy, xhat, out=product)
            torch.sum(product, over, out=weights.weight_grad)
            torch.div(weights.weight_grad, count, out=a_KF)
            torch.div(weights.bias_grad, count, out=c_KF)
            if held_K1 is not None:  # statistics that are held do not depend on the batch
                a_KF.masked_fill_(held_K1, 0.0)
                c_KF.masked_fill_(held_K1, 0.0)
            torch.mul(xhat, a, out=product)
            torch.sub(dy, c, out=dx)
            dx.sub_(product)
            torch.mul(inverse_KF, weights.weight, out=a_KF)
            dx.mul_(a)

        tape.forward.append(normalise)
        tape.backward.append(differentiate)
        return y


class LayerNorm(Norm):
    """Layer normalisation over all features (and pixels) of each example (arXiv 1607.06450)."""

    @property
    def copies(self) -> int:
        return 3

    def module(self) -> nn.Module:
        return nn.GroupNorm(1, self.features, eps=EPS) if self.spatial else nn.LayerNorm(self.features, eps=EPS)

    def record(self, x: Tensor, rows: LayerRows) -> Tensor:
        """See `Layer.record`; features that rounding added are zero in x, and count in no mean."""
        tape, weights, unit_mask = rows.tape, rows.weights, rows.unit_mask()
        over, over_batch = ((2, 3, 4), (1, 3, 4)) if self.spatial else ((2,), (1,))
        if self.spatial:
            share: Tensor = torch.tensor(1.0 / x[0, 0].numel(), device=tape.device)
        else:
            share = 1.0 / unit_mask.sum(dim=2, keepdim=True).clamp_min_(1.0)  # of a trial that lacks the layer, 0
        y, xhat, product = (tape.memory.like(x) for _ in range(3))
        mean, inverse = (torch.zeros(*x.shape[:2], *(1 for _ in over), device=tape.device) for _ in range(2))
        gamma, beta = self.broadcast(weights.weight), self.broadcast(weights.bias)

        def mean_over(values: Tensor, out: Tensor) -> None:
            torch.sum(values, over, keepdim=True, out=out)
            out.mul_(share)

        def normalise() -> None:
            mean_over(x, mean)
            torch.sub(x, mean, out=xhat)
            if not self.spatial:
                xhat.mul_(unit_mask)
            torch.mul(xhat, xhat, out=product)
            mean_over(product, inverse)
            inverse.add_(EPS).rsqrt_()
            xhat.mul_(inverse)
            torch.addcmul(beta, xhat, gamma, out=y)

        tape.forward.append(normalise)
        if not tape.training:
            return y
        along = torch.zeros_like(mean)
        dy, dx = tape.memory.gradient(y), tape.memory.gradient(x)

        def differentiate() -> None:
            torch.sum(dy, over_batch, out=weights.bias_grad)
            torch.mul(dy, xhat, out=product)
            torch.sum(product, over_batch, out=weights.weight_grad)
            torch.mul(dy, gamma, out=dx)
            torch.mul(dx, xhat, out=product)
            mean_over(dx, mean)
            mean_over(product, along)
            torch.mul(xhat, along, out=product)
            dx.sub_(mean).sub_(product).mul_(inverse)
            if not self.spatial:
                dx.mul_(unit_mask)

        tape.backward.append(differentiate)
        return y


NORMS: Mapping[str, type[Norm]] = {"batch": BatchNorm, "layer": LayerNorm}
"""By the names that `tuner.spec.known.networks` has for them."""


def norm_layers(kind: str, features: int, *, spatial: bool = False) -> tuple[Layer, ...]:
    """The norm that a setting `norm` names; none if it is `none`."""
    return () if kind == "none" else (NORMS[kind](features, spatial),)
