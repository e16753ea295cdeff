"""What keeps a user's module from being trained as rows of a stack, said in the field's words."""

from __future__ import annotations

import logging
import re

import torch
from torch import nn

from tuner.models.dropout import UnreadableRateError
from tuner.models.transfer import has_norms
from tuner.train.program import Member

log = logging.getLogger(__name__)

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

_IN_WORDS: tuple[tuple[str, str], ...] = (
    (
        r"\.item\(\)|data-dependent control flow|Boolean value of Tensor",
        "its forward takes a number out of a tensor (item(), float(), an `if` on a tensor), and trials differ in it",
    ),
    (
        r"accessing `data`|incompatible tensor type|set_data",
        "its forward reaches for the data of a tensor, past what autograd sees",
    ),
    (r"random operation|randomness", "its forward draws random numbers itself"),
    (
        r"inplace arithmetic|in-place|inplace",
        "its forward changes a tensor in place that is one for all trials by one that is not",
    ),
    (
        r"dynamic|nonzero|masked_select|data-dependent",
        "its forward picks elements by their values, so that shapes differ among trials",
    ),
    (
        r"data pointer|doesn't have storage|numpy|tolist",
        "its forward leaves PyTorch (NumPy, lists of numbers), which sees one trial at a time",
    ),
    (r"autograd\.Function|setup_context", "it has an autograd.Function without a rule for several trials at once"),
)
"""Patterns of what the library says, and what that means."""


def plainly_unfusable(member: Member, module: nn.Module) -> str | None:
    """Why a module cannot be stacked, as far as its parts alone tell; None where it has to be tried."""
    parts = list(module.modules())
    for name, parameter in module.named_parameters():
        if parameter.dtype != torch.float32:
            kind = str(parameter.dtype).removeprefix("torch.")
            return f"its parameter {name} holds {kind} numbers, and rows hold float32"
    if any(isinstance(part, nn.RNNBase) for part in parts):
        return "torch.func has no rule for recurrent layers"
    if next(module.parameters()).device.type == "cpu" and any(isinstance(part, _CONVOLUTIONS) for part in parts):
        return "stacked convolutions are slower than single ones on a CPU"
    transfer = member.transfer
    if transfer is not None and transfer.unfreeze_every_epochs is not None and has_norms(module):
        return "its batch norms thaw epoch by epoch"
    known = {
        *dict(module.named_parameters(remove_duplicate=False)),
        *dict(module.named_buffers(remove_duplicate=False)),
    }
    if more := [name for name in module.state_dict() if name not in known]:
        return f"it saves more than parameters and buffers, in {more[0]}"
    return None


def in_words(error: BaseException) -> str:
    """What a module that fails in a stack, and not by itself, does there."""
    text = str(error)
    log.debug("a stack of modules failed", exc_info=error)
    if isinstance(error, UnreadableRateError):
        return "it looks at the rate of a dropout layer"
    if slow := re.search(r"batching rule for (aten::\w+)", text):
        return f"torch.func has no rule for {slow[1]}, and would run it for one trial after the other"
    for pattern, words in _IN_WORDS:
        if re.search(pattern, text):
            return words
    return f"it fails for several trials at once ({type(error).__name__}), and not for one"
