"""Whether a user's module can be trained as one with its like: tried out, and where it cannot be, said in words."""

from __future__ import annotations

import copy
import re
import warnings

import numpy as np
import torch
from torch import nn

from tuner.data.dataset import Split
from tuner.models.transfer import has_norms
from tuner.train.program import EpochPlan, Member, evaluation_chunks
from tuner.train.stackable import difference
from tuner.train.vmapped import ModuleProgram

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NUM_TWINS = 4
"""So many copies of a module are tried to see whether it can be stacked."""


def unfusable_reason(member: Member, train: Split, *, loss: str, num_outputs: int) -> str | None:
    """Why a user's module cannot be trained as one with its like, or None if it can.

    Takes one step of twins of the module, on different batches, fused and one by one, and compares: gradients and
    outputs must be the same bits on a CPU, and agree to 1e-4 of their size on a GPU.
    """
    device = train.inputs.device
    on_cpu = device.type == "cpu"
    if on_cpu and any(isinstance(m, _CONVOLUTIONS) for m in member.make_module().modules()):
        return "stacked convolutions are slower than single ones on a CPU"
    transfer = member.transfer
    if transfer is not None and transfer.unfreeze_every_epochs is not None and has_norms(member.make_module()):
        return "its batch norms thaw epoch by epoch"
    if any(isinstance(m, nn.RNNBase) for m in member.make_module().modules()):
        return "torch.func has no rule for recurrent layers"
    twins = [member] * NUM_TWINS
    size = min(member.settings.batch_size, len(train))
    batch = torch.arange(size, device=device)
    plan = EpochPlan(
        order_KN=torch.stack([(batch + row * size) % len(train) for row in range(len(twins))]),
        learning_rate_SK=np.full((1, len(twins)), member.settings.learning_rate),
        step_SK=np.zeros((1, len(twins)), dtype=np.int64),
    )
    found = []
    try:
        for fused in (True, False):
            program = ModuleProgram(twins, train, loss=loss, num_outputs=num_outputs, device=device, fused=fused)
            if apart := difference(program.modules):
                return apart
            before = copy.deepcopy(program.modules[0])
            with warnings.catch_warnings():
                # What `vmap` runs one by one, for want of a rule, gains nothing.
                warnings.filterwarnings("error", "There is a performance drop", UserWarning)
                program.take_gradients(plan)
                outputs = program.outputs(next(evaluation_chunks(train.inputs)))
            if difference([before, program.modules[0]]):
                return "it keeps what its forward pass computes in plain attributes"
            found.append((program.g_KP, outputs))
    except Exception as error:  # whatever a user's module raises under vmap is a reason not to use it
        if slow := re.search(r"batching rule for (aten::\w+)", str(error)):
            return f"torch.func has no rule for {slow[1]}, and would run it for one trial after the other"
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    for what, ours, theirs in zip(("gradient", "output"), *found, strict=True):
        scale = theirs.abs().max().clamp_min(1e-12)
        share = float(((ours - theirs).abs().max() / scale).item())
        if not share <= (0.0 if on_cpu else 1e-4):
            return f"the fused step differs from the plain one by {share:.1e} of the {what}"
    return None
