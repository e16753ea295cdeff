"""What keeps a user's module from being trained as rows of a stack, said in the field's words."""

from __future__ import annotations

import logging
import re
import traceback
from itertools import dropwhile
from pathlib import Path

import torch
import torch.utils.checkpoint
from torch import nn

from tuner.models.layers.dropout import UnreadableRateError
from tuner.models.transfer import has_norms
from tuner.train.program import Member
from tuner.train.programs.modules.stackable import class_of_its_own

log = logging.getLogger(__name__)

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TAKES_GRADIENTS = (
    "its forward takes gradients by torch.autograd, which are those of one trial at a time (torch.func.grad would do)"
)

_IN_WORDS: tuple[tuple[str, str], ...] = (
    (r"requires_grad_\(\)", _TAKES_GRADIENTS),
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
_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parents[3]))
_AUTOGRAD = (torch.autograd.__file__, torch.autograd.functional.__file__)


def plainly_unfusable(member: Member, module: nn.Module, device: torch.device) -> str | None:
    """Why a module cannot be stacked on a device, as far as its parts alone tell; None where it has to be tried."""
    parts = list(module.modules())
    for name, parameter in module.named_parameters():
        if parameter.dtype != torch.float32:
            kind = str(parameter.dtype).removeprefix("torch.")
            return f"its parameter {name} holds {kind} numbers, and rows hold float32"
    if any(isinstance(part, nn.RNNBase | nn.RNNCellBase) for part in parts):
        return "torch.func has no rule for recurrent layers"
    if any(isinstance(part, torch.jit.ScriptModule) for part in parts):
        return "a part of it is compiled by TorchScript, which torch.func cannot see into"
    if device.type == "cpu" and any(isinstance(part, _CONVOLUTIONS) for part in parts):
        return "stacked convolutions are slower than single ones on a CPU"
    for name, part in module.named_modules():
        if hasattr(part, "parametrizations"):
            return class_of_its_own(part, where=name or "the top")
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
    files = [file for file, _ in _places(error)]
    if torch.utils.checkpoint.__file__ in files:
        return "it computes a part again for its gradient (torch.utils.checkpoint), which works for one trial at a time"
    of_theirs = dropwhile(lambda file: file.startswith(_LIBRARIES), files)
    if any(file in _AUTOGRAD for file in of_theirs):
        return _TAKES_GRADIENTS
    if slow := re.search(r"batching rule for (aten::\w+)", text):
        return f"torch.func has no rule for {slow[1]}, and would run it for one trial after the other"
    for pattern, words in _IN_WORDS:
        if re.search(pattern, text):
            return words
    return f"its forward cannot be computed for several trials at once{place_in_words(error)}"


def place_in_words(error: BaseException) -> str:
    """Where in the user's own files an error arose, as the end of a sentence."""
    theirs = [place for place in _places(error) if not place[0].startswith(_LIBRARIES)]
    return f", at {Path(theirs[-1][0]).name}:{theirs[-1][1]}" if theirs else ""


def _places(error: BaseException) -> list[tuple[str, int]]:
    """The file and the line of each call, the outermost first."""
    return [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
