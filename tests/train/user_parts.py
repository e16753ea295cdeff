"""Losses, metrics and optimisers such as users write, and worse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, targets)


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    return float((outputs.argmax(1) == targets).double().mean())


def sgd(parameters: Iterable[nn.Parameter], params: Mapping[str, Any]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=params["learning_rate"], momentum=0.9)


def lbfgs_like(parameters: Iterable[nn.Parameter], params: Mapping[str, Any]) -> torch.optim.Optimizer:
    """Its state is more than tensors by parameter."""
    found = list(parameters)
    groups = [{"params": found[:1], "lr": params["learning_rate"]}, {"params": found[1:], "lr": 0.01}]
    return torch.optim.RAdam(groups)


class Keeping(torch.optim.SGD):
    """It keeps tensors of no parameter among its groups."""

    def step(self, closure: Any = None) -> None:
        super().step(closure)
        for group in self.param_groups:
            first = group["params"][0]
            group.setdefault("seen", torch.zeros((), device=first.device)).add_(first.grad.abs().mean())
            group["lr"] *= float(1.0 / (1.0 + 0.01 * group["seen"]))


def keeping(parameters: Iterable[nn.Parameter], params: Mapping[str, Any]) -> torch.optim.Optimizer:
    return Keeping(parameters, lr=params["learning_rate"], momentum=0.9)


def tensor_metric(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) == targets).float().mean()


def not_scalar(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


def a_float(outputs: Tensor, targets: Tensor) -> float:
    return 0.5


def detached(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.cross_entropy(outputs.detach(), targets)


def not_a_number(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.sum() * float("nan")


def wrong_shape(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean()


def words(outputs: Tensor, targets: Tensor) -> str:
    return "good"


def none(parameters: Iterable[nn.Parameter], params: Mapping[str, Any]) -> None:
    return None


number = 3
