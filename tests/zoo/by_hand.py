"""A training loop as one would write it around a module; of tuner it has the seeds and the order of examples alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parameter import is_lazy

from tuner.data.dataset import TrainingData
from tuner.models.keyed import batch_order, key

EPOCHS, BATCH_SIZE, LEARNING_RATE, MOMENTUM = 3, 32, 0.05, 0.9


@dataclass(frozen=True, slots=True)
class Epoch:
    """What an epoch leaves."""

    dev_loss: float
    dev_accuracy: float
    weights: Mapping[str, Any]
    """The state dict in training mode, as the next epoch would begin with."""


def seed_all(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)


@contextmanager
def generators_as_they_were() -> Iterator[None]:
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    yield
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])


def by_hand(
    kind: type[nn.Module],
    params: Mapping[str, Any],
    data: TrainingData,
    *,
    seed: int,
    auxiliary: str | None = None,
    epochs: int = EPOCHS,
    also: Tensor | None = None,
) -> list[Epoch]:
    """Train and evaluate a module.

    Args:
        kind: Its class.
        params: What its class is called with.
        data: What to train on.
        seed: Of the trial.
        auxiliary: An attribute of the module that is added to the loss.
        epochs: So many.
        also: Further inputs to evaluate after each epoch, with the dev set's.
    """
    evaluated = data.dev.inputs if also is None else torch.cat([data.dev.inputs, also])
    with generators_as_they_were():
        seed_all(key(seed, "init"))
        module = kind(params, data.info)
        if any(map(is_lazy, (*module.parameters(), *module.buffers()))):
            answers(module, data.train.inputs[:2])
        trained = [p for p in module.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=LEARNING_RATE, momentum=MOMENTUM)
        found = []
        for number in range(epochs):
            seed_all(key(seed, "epoch", number))
            module.train()
            for batch in batch_order(seed, number, len(data.train)).split(BATCH_SIZE):
                optimizer.zero_grad()
                outputs = module(data.train.inputs[batch].clone())
                loss = cross_entropy(outputs.float(), data.train.targets[batch])
                (loss if auxiliary is None else loss + getattr(module, auxiliary)).backward()
                optimizer.step()
            seed_all(key(seed, "evaluation"))
            found.append(_measured(module, evaluated, data.dev.targets))
    return found


def _measured(module: nn.Module, inputs: Tensor, targets: Tensor) -> Epoch:
    outputs = answers(module, inputs)[: len(targets)]
    correct = (outputs.argmax(1) == targets).float().mean()
    module.train()
    weights = {name: t.clone() if isinstance(t, Tensor) else t for name, t in module.state_dict().items()}
    return Epoch(float(cross_entropy(outputs, targets)), float(correct), weights)


@torch.no_grad()
def answers(module: nn.Module, inputs: Tensor) -> Tensor:
    outputs: Tensor = module.eval()(inputs.clone())
    return outputs.float()
