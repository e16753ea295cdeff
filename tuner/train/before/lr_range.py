"""The learning-rate range test: a moment of training with a rate that rises exponentially (arXiv 1506.01186)."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import torch

from tuner.errors import UserCodeError
from tuner.records import TrialJob
from tuner.train.program import EpochPlan, num_steps
from tuner.train.task import Task

SEEDS = 3
"""Networks trained side by side; the loss at each rate is their median."""
_MEASURED_EXAMPLES = 512
HOPELESS = 4.0
"""A loss so many times the first ends the test: what follows is no news."""


def range_test(task: Task, job: TrialJob, *, low: float, high: float, steps: int) -> list[tuple[float, float]]:
    """(learning rate, loss after the step) for each step, up to where the loss has exploded.

    The loss is measured on a fixed sample of the training examples, in evaluation mode.

    Args:
        task: The sweep's.
        job: The configuration to test; its learning rate is ignored.
        low: First rate.
        high: Last rate.
        steps: From the first to the last.

    Raises:
        UserCodeError: the rate is set by the user's LightningModule, not by us.
    """
    members = [task.member(replace(job, seed=job.seed + i)) for i in range(SEEDS)]
    if task.ways.is_lightning(members[0]):
        raise UserCodeError(
            f"{task.spec.model.kind} is a LightningModule, whose configure_optimizers sets the learning rate; use "
            "Lightning's own Tuner.lr_find"
        )
    program = task.program(members)
    train = task.data.train
    every = max(1, len(train) // _MEASURED_EXAMPLES)
    inputs, score = train.inputs[::every][:_MEASURED_EXAMPLES], task.scorer(train.targets[::every][:_MEASURED_EXAMPLES])
    rates = np.geomspace(low, high, steps)
    batch_size = members[0].settings.batch_size
    in_epoch = num_steps(len(train), batch_size)
    found: list[tuple[float, float]] = []
    for epoch in range(math.ceil(steps / in_epoch)):
        first = epoch * in_epoch
        part = rates[first : first + in_epoch]
        padded = np.concatenate([part, np.full(in_epoch - len(part), high)])
        plan = EpochPlan(
            order_KN=torch.stack([order for m in members for order in task.orders(m.seed, epoch, batch_size)]).to(
                task.device
            ),
            learning_rate_SK=np.repeat(padded[:, None], SEEDS, axis=1),
            step_SK=np.repeat((first + np.arange(in_epoch))[:, None], SEEDS, axis=1),
        )
        for number, rate in enumerate(part):
            program.train_steps(plan, number, number + 1)
            losses = score(program.outputs(inputs)).loss.tolist()
            loss = statistics.median(x if math.isfinite(x) else math.inf for x in losses)
            found.append((float(rate), loss))
            if loss > HOPELESS * max(found[0][1], 1e-12):
                return found
    return found
