"""All that a plain module holds, taken into a checkpoint and put back: the one place for both."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tuner.train.program import RowState

_UNSAVED = "unsaved."
"""Before the names of buffers that a module's state dict leaves out."""


def module_state(module: nn.Module) -> RowState:
    """A copy of a module's whole state, on the CPU."""
    saved = module_weights(module)
    left_out = {n: b for n, b in module.named_buffers() if n not in saved}
    return saved | {f"{_UNSAVED}{name}": _copy(buffer) for name, buffer in left_out.items()}


@torch.no_grad()
def load_module_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put back what `module_state` took.

    Raises:
        RuntimeError: it is that of another module.
    """
    saved = {name: t for name, t in state.items() if not name.startswith(_UNSAVED)}
    others = {name: value for name, value in module.state_dict().items() if not isinstance(value, Tensor)}
    module.load_state_dict({**others, **saved})
    for name, buffer in module.named_buffers():
        if (value := state.get(f"{_UNSAVED}{name}")) is not None:
            buffer.copy_(value)


def module_weights(module: nn.Module) -> RowState:
    """A copy of the tensors of a module's state dict, on the CPU."""
    return {name: _copy(value) for name, value in module.state_dict().items() if isinstance(value, Tensor)}


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().clone()
