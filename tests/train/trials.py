"""Trials without a sweep: settings, members and plans, for tests of what trains them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from tests.train.cohorts import make_spec
from tuner.models.keyed import batch_order, dropout_keys
from tuner.models.layers.dropout import keyed_dropouts
from tuner.models.module import initial_values, load_values, to_module
from tuner.models.network import Network
from tuner.train.program import EpochPlan, Member
from tuner.train.settings import Settings, resolve_settings


def settings_of(*, num_train: int = 300, epochs: int = 10, **params: float | str | bool) -> Settings:
    """The resolved values of a trial with these parameters."""
    return resolve_settings(make_spec(epochs=epochs), params, num_train=num_train)


def member_of(network: Network, settings: Settings, *, seed: int) -> Member:
    """A trial of a built-in network."""

    def make_module() -> nn.Module:
        module = to_module(network, dropout=settings.dropout)
        load_values(module, network, initial_values(network, seed=seed, init=settings.init))
        return module

    return Member(seed, settings, network, make_module)


def plan_of(members: Sequence[Member], *, num_train: int, epoch: int = 0) -> EpochPlan:
    """What the cohort's loop hands to a program for one epoch, at a constant learning rate."""
    steps = -(-num_train // members[0].settings.batch_size)
    return EpochPlan(
        order_KN=torch.stack([batch_order(m.seed, epoch, num_train) for m in members]),
        learning_rate_SK=np.array([[m.settings.learning_rate for m in members]] * steps),
        step_SK=epoch * steps + np.arange(steps)[:, None].repeat(len(members), axis=1),
    )


def set_dropout_keys(module: nn.Module, *, seed: int, step: int) -> None:
    """Give a module's dropout layers the masks of one step."""
    dropouts = keyed_dropouts(module)
    found = dropout_keys([seed], np.array([[step]]), len(dropouts))
    for layer, dropout in enumerate(dropouts):
        dropout.start_step(int(found[0, layer, 0]))


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, as a share of the largest entry or of 0.01: a bias below batch norm has no gradient."""
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(0.01))
