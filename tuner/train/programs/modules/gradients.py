"""Gradients of users' modules whose parameters are rows: of all trials at once under `vmap`, or of one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from tuner.models.layers.dropout import KeyedDropout, keyed_dropouts
from tuner.train.measure.losses import mean_loss, sum_of_mean_losses
from tuner.train.program import Problem, RowState
from tuner.train.rows.rows import RowLayout


class ModuleGradients(Protocol):
    """A way to compute; made with the modules and the rows that hold their values."""

    def compute(
        self,
        inputs: Tensor,
        targets: Tensor,
        *,
        dropout_keys_LK: Tensor,
    ) -> None:
        """Compute the gradients of each trial's mean loss into the rows of gradients.

        Args:
            inputs: A batch for each trial, (K, B, *input_shape).
            targets: Theirs.
            dropout_keys_LK: The keys of each dropout layer; int32.
        """
        ...

    def outputs(self, inputs: Tensor) -> Tensor:
        """Each trial's outputs on the same examples, (K, examples, ...)."""
        ...


class SingleModules:
    """One trial after the other: each module's parameters and buffers are views of its rows."""

    def __init__(
        self,
        modules: Sequence[nn.Module],
        layout: RowLayout,
        p_KP: Tensor,
        g_KP: Tensor,
        buffers: RowState,
        problem: Problem,
    ) -> None:
        self.modules = modules
        self._problem = problem
        self._g_KP = g_KP
        self._dropouts = [keyed_dropouts(module) for module in modules]
        for row, module in enumerate(modules):
            for place, parameter in zip(layout.parameters, module.parameters(), strict=True):
                parameter.data, grad = (layout.view(rows[row : row + 1], place)[0] for rows in (p_KP, g_KP))
                parameter.grad = grad if parameter.requires_grad else None
            for name, buffer in buffers_of(module).items():
                buffer.data = buffers[name][row]

    def compute(self, inputs: Tensor, targets: Tensor, *, dropout_keys_LK: Tensor) -> None:
        self._g_KP.zero_()
        for row, module in enumerate(self.modules):
            for layer, dropout in enumerate(self._dropouts[row]):
                dropout.start_step(dropout_keys_LK[layer, row])
            with torch.autocast(self._problem.device.type, torch.bfloat16, enabled=self._problem.half):
                outputs = module(inputs[row])
            torch.autograd.backward(mean_loss(outputs.float(), targets[row], loss=self._problem.loss))

    def outputs(self, inputs: Tensor) -> Tensor:
        return torch.stack([module(inputs.clone()) for module in self.modules])


class FusedModules:
    """All trials at once: the code of the first module with the tensors of all."""

    def __init__(
        self,
        modules: Sequence[nn.Module],
        layout: RowLayout,
        p_KP: Tensor,
        g_KP: Tensor,
        buffers: RowState,
        problem: Problem,
    ) -> None:
        self.base = modules[0]
        self._problem = problem
        self._parameters: dict[str, Tensor] = {}
        self._grads: dict[str, Tensor] = {}
        for place, (name, first) in zip(layout.parameters, self.base.named_parameters(), strict=True):
            self._parameters[name] = layout.view(p_KP, place).detach()
            if first.requires_grad:
                self._parameters[name].requires_grad_()
                self._grads[name] = layout.view(g_KP, place)
        stacks = [dict(module.named_buffers()) for module in modules]
        of_dropouts = {n: torch.stack([own[n] for own in stacks]) for n in stacks[0] if n not in buffers}
        self._buffers = {**buffers, **of_dropouts}
        named = self.base.named_modules()
        self._dropouts = {f"{name}.key".lstrip("."): m for name, m in named if isinstance(m, KeyedDropout)}
        """Each dropout layer by the name of the buffer with its key."""

    def compute(self, inputs: Tensor, targets: Tensor, *, dropout_keys_LK: Tensor) -> None:
        for layer, (name, dropout) in enumerate(self._dropouts.items()):
            dropout.calls = 0
            self._buffers[name].copy_(dropout_keys_LK[layer])

        with torch.autocast(self._problem.device.type, torch.bfloat16, enabled=self._problem.half):
            outputs = vmap(self._call)(self._parameters, self._buffers, inputs)
        leaves = [self._parameters[name] for name in self._grads]
        loss = sum_of_mean_losses(outputs.float(), targets, loss=self._problem.loss)
        found = torch.autograd.grad(loss, leaves, allow_unused=True)
        for target, grad in zip(self._grads.values(), found, strict=True):
            target.zero_() if grad is None else target.copy_(grad)

    def outputs(self, inputs: Tensor) -> Tensor:
        found: Tensor = vmap(self._call, in_dims=(0, 0, None))(self._parameters, self._buffers, inputs.clone())
        return found

    def _call(self, parameters: RowState, buffers: RowState, inputs: Tensor) -> Tensor:
        outputs: Tensor = functional_call(self.base, (parameters, buffers), (inputs,))
        return outputs


def buffers_of(module: nn.Module) -> RowState:
    """A module's buffers, but for those of its dropout layers."""
    owned = {id(buffer) for dropout in keyed_dropouts(module) for buffer in dropout.buffers()}
    return {name: buffer for name, buffer in module.named_buffers() if id(buffer) not in owned}
