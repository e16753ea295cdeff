"""Layers of users' modules that compute the same bits alone and under `torch.func.vmap`.

The library picks kernels, and with them the order of summation, by the shape of the whole stack; a trial's result
would then depend on the width of its cohort. `make_exact` lets the layers where that happens compute through
operations that round alike at any width. Their tensors, names and meaning stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.modules.batchnorm import _BatchNorm

from tuner.models.layers.widths import rounded_width


class TrialLinear(nn.Linear):
    """`nn.Linear` as one batched product; few outputs are rounded up, since one column takes another kernel."""

    def forward(self, input: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        added = rounded_width(self.out_features) - self.out_features if self.out_features < 16 else 0
        if added:
            weight = pad(weight, (0, 0, 0, added))
        rows = input.reshape(1, -1, self.in_features)
        outputs = torch.bmm(rows, weight.transpose(0, 1).unsqueeze(0))[0]
        if added:
            outputs = outputs[:, : self.out_features]
        if bias is not None:
            outputs = outputs + bias
        return outputs.reshape(*input.shape[:-1], self.out_features)


class TrialBatchNorm(_BatchNorm):
    """`nn.BatchNorm1d`, `2d` or `3d` (arXiv 1502.03167) from elementary operations."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        precise = _precise(input)
        over = [0, *range(2, input.dim())]
        shape = [1, -1] + [1] * (input.dim() - 2)
        if self.training or self.running_mean is None or self.running_var is None:
            mean = precise.mean(over)
            centred = precise - mean.view(shape)
            variance = (centred * centred).mean(over)
            if self.training:
                self._track(mean, variance, count=input.numel() // input.shape[1])
        else:
            mean, variance = self.running_mean, self.running_var
            centred = precise - mean.view(shape)
        normed = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normed = normed * self.weight.view(shape) + self.bias.view(shape)
        return normed.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, *, count: int) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.momentum is not None
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        self.running_mean.mul_(1 - self.momentum).add_(mean.detach(), alpha=self.momentum)
        unbiased = self.momentum * count / max(count - 1, 1)
        self.running_var.mul_(1 - self.momentum).add_(variance.detach(), alpha=unbiased)


class TrialLayerNorm(nn.LayerNorm):
    """`nn.LayerNorm` (arXiv 1607.06450) from elementary operations."""

    def forward(self, input: Tensor) -> Tensor:
        normed = _standardised(input, list(range(-len(self.normalized_shape), 0)), self.eps)
        if self.weight is not None:
            normed = normed * self.weight
        return normed if self.bias is None else normed + self.bias


class TrialGroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` (arXiv 1803.08494) from elementary operations."""

    def forward(self, input: Tensor) -> Tensor:
        groups = input.reshape(input.shape[0], self.num_groups, -1)
        normed = _standardised(groups, [-1], self.eps).reshape(input.shape)
        if not self.affine:
            return normed
        shape = [1, -1] + [1] * (input.dim() - 2)
        return normed * self.weight.view(shape) + self.bias.view(shape)


class TrialRMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` (arXiv 1910.07467) from elementary operations."""

    def forward(self, x: Tensor) -> Tensor:
        eps = torch.finfo(x.dtype).eps if self.eps is None else self.eps
        x = _precise(x)
        over = list(range(-len(self.normalized_shape), 0))
        normed = x * torch.rsqrt((x * x).mean(over, keepdim=True) + eps)
        return normed if self.weight is None else normed * self.weight


def _precise(x: Tensor) -> Tensor:
    """In float32 where it is less, as the library's norms compute under autocast: means of many need the digits."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _standardised(x: Tensor, over: list[int], eps: float) -> Tensor:
    """Zero mean and unit variance over these axes."""
    x = _precise(x)
    centred = x - x.mean(over, keepdim=True)
    return centred * torch.rsqrt((centred * centred).mean(over, keepdim=True) + eps)


_EXACT: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: TrialLinear,
    nn.LayerNorm: TrialLayerNorm,
    nn.GroupNorm: TrialGroupNorm,
    nn.RMSNorm: TrialRMSNorm,
}


class LibraryBatchNorm(_BatchNorm):
    """The library's batch norm, for inputs of any number of dimensions."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


def make_inexact(module: nn.Module) -> None:
    """What undoes `make_exact`: the layers inside a module are the library's own, each one kernel."""
    library = {exact: own for own, exact in _EXACT.items()} | {TrialBatchNorm: LibraryBatchNorm}
    for layer in module.modules():
        if type(layer) in library:
            layer.__class__ = library[type(layer)]


def make_exact(module: nn.Module) -> None:
    """Let the linear layers and norms inside a module compute the same bits at any width, in place."""
    for layer in module.modules():
        if type(layer) in _EXACT:
            layer.__class__ = _EXACT[type(layer)]
        elif type(layer) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d) and layer.momentum is not None:
            layer.__class__ = TrialBatchNorm
