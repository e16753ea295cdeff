"""Lion as a `torch.optim` optimiser, for the plain loop: the library has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class Lion(torch.optim.Optimizer):
    """The sign of a mixture of momentum and gradient, with decoupled weight decay (arXiv 2302.06675)."""

    def __init__(self, groups: Iterable[dict[str, Any]], *, lr: float, betas: tuple[float, float]) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                first = self.state[parameter].setdefault("first", torch.zeros_like(parameter))
                parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                mixture = first * beta1 + parameter.grad * (1.0 - beta1)
                direction = torch.sign(mixture) + (mixture - mixture)  # NaN stays NaN
                parameter.add_(direction, alpha=-group["lr"])
                first.mul_(beta2).add_(parameter.grad, alpha=1.0 - beta2)
