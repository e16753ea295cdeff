"""Gradients by back-propagation against central differences, in float64."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tuner.data.dataset import Split
from tuner.models.dropout import KeyedDropout

GRADIENT_STEP = 1e-6
MAX_CHECKED = 20
"""Entries of each tensor."""


def gradient_errors(module: nn.Module, batch: Split, *, loss: Callable[[Tensor, Tensor], Tensor]) -> dict[str, float]:
    """The relative error of each parameter group's gradient on a sample of its entries, by the parameter's name.

    The error is |numerical - analytical| / (|numerical| + |analytical|), in L2 norm. The module is changed to float64.

    Args:
        module: Its dropout is switched off; norms use the batch's own statistics, as in training.
        batch: Examples, in float32.
        loss: Of outputs and targets, a scalar.
    """
    module = without_dropout(module.to("cpu").double())
    inputs = batch.inputs.cpu().double()
    targets = batch.targets.cpu()
    targets = targets.double() if targets.is_floating_point() else targets

    def cost() -> Tensor:
        return loss(module(inputs.clone()), targets)

    with torch.no_grad():
        if not torch.equal(cost(), cost()):
            module.eval()  # it draws random numbers of its own in training mode
    cost().backward()  # type: ignore[no-untyped-call]
    draw = torch.Generator().manual_seed(0)
    errors: dict[str, float] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        # No gradient at all says that the loss does not depend on it, which the numerical one proves or refutes.
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        chosen = torch.randperm(parameter.numel(), generator=draw)[:MAX_CHECKED]
        numerical = torch.stack([_difference(cost, parameter, int(i)) for i in chosen])
        analytical = gradient.flatten()[chosen]
        size = float(numerical.norm() + analytical.norm())
        # A difference of float64 losses of order one is no more exact than this: the bias below a batch norm has none.
        errors[name] = float((numerical - analytical).norm()) / size if size > 1e-8 else 0.0
    return errors


def without_dropout(module: nn.Module) -> nn.Module:
    """The module in training mode, but its dropout layers in evaluation mode."""
    module.train()
    for layer in module.modules():
        if isinstance(layer, KeyedDropout | nn.modules.dropout._DropoutNd):
            layer.eval()
    return module


@torch.no_grad()
def _difference(cost: Callable[[], Tensor], parameter: nn.Parameter, index: int) -> Tensor:
    entries = parameter.view(-1)
    before = entries[index].clone()
    values = []
    for sign in (1.0, -1.0):
        entries[index] = before + sign * GRADIENT_STEP
        values.append(cost())
    entries[index] = before
    return (values[0] - values[1]) / (2 * GRADIENT_STEP)
