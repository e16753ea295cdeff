"""Copies of modules whose layers compute the same bits alone and in a stack, and draw dropout by key.

A user's module is trained as its code says (`train.programs.plain`). Only copies that are trained as rows of a stack
are rewritten, once it is known that these compute what the module as written does (`train.programs.modules.fusable`).
Bits are promised on a CPU: elsewhere the library's own layers stay, which do in one kernel what exact ones do in ten.
"""

from __future__ import annotations

import torch
from torch import nn

from tuner.models.exact import make_exact, make_inexact
from tuner.models.layers.dropout import replace_dropout
from tuner.models.transfer import make_held_norms_exact


def rewritten(module: nn.Module, device: torch.device) -> nn.Module:
    """The module with keyed dropout and, for a CPU, exact layers (`models.exact`), in place, or what replaces it."""
    if device.type == "cpu":
        make_exact(module)
        make_held_norms_exact(module)
    else:
        make_inexact(module)  # the built-in ones are exact by themselves, as a CPU trains them
    return replace_dropout(module)
