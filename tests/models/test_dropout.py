"""Dropout with keyed masks, in plain modules and under `vmap`."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from tuner.models.keyed import dropout_keys
from tuner.models.layers.dropout import KeyedDropout, dropout_rates, keyed_dropouts, replace_dropout


def set_key(dropout: KeyedDropout, *, seed: int, step: int, layer: int = 0) -> None:
    dropout.start_step(int(dropout_keys([seed], np.array([[step]]), layer + 1)[0, layer, 0]))


def test_evaluation_changes_nothing() -> None:
    x = torch.randn(20, 30)
    assert KeyedDropout(0.9).eval()(x) is x


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_training_drops_at_the_rate_and_keeps_the_mean(rate: float) -> None:
    dropout = KeyedDropout(rate)
    x = torch.ones(200, 50)
    set_key(dropout, seed=1, step=3)
    y = dropout(x)
    assert set(y.unique().tolist()) <= {0.0, float(dropout.scale)}
    dropped = float((y == 0).float().mean())
    assert abs(dropped - rate) <= 4 * math.sqrt(rate * (1 - rate) / x.numel())
    assert float(dropout.scale) == pytest.approx(1 / (1 - rate))


def test_the_mask_is_that_of_the_key_alone() -> None:
    dropout, x = KeyedDropout(0.5), torch.ones(8, 20)
    set_key(dropout, seed=1, step=3)
    first = dropout(x)
    torch.manual_seed(99)
    set_key(dropout, seed=1, step=3)
    assert torch.equal(dropout(x), first)
    set_key(dropout, seed=1, step=4)
    assert not torch.equal(dropout(x), first)


def test_a_unit_is_dropped_for_some_examples_and_kept_for_others() -> None:
    dropout = KeyedDropout(0.5)
    set_key(dropout, seed=5, step=0)
    kept = dropout(torch.ones(200, 33)) != 0
    assert ((kept.float().mean(dim=0) > 0.2) & (kept.float().mean(dim=0) < 0.8)).all()


def test_widths_that_round_alike_are_dropped_alike() -> None:
    """So that a trial of 20 units draws the same masks in a module and in a stack of 32."""
    dropout = KeyedDropout(0.5)
    set_key(dropout, seed=2, step=9)
    narrow = dropout(torch.ones(10, 20))
    set_key(dropout, seed=2, step=9)
    assert torch.equal(narrow, dropout(torch.ones(10, 32))[:, :20])


def test_each_call_in_a_step_draws_a_mask_of_its_own() -> None:
    """One layer used in several places is common in users' modules."""
    dropout, x = KeyedDropout(0.5), torch.ones(100, 100)
    set_key(dropout, seed=4, step=2)
    first, second, third = (dropout(x) != 0 for _ in range(3))
    for a, b in ((first, second), (first, third), (second, third)):
        assert abs(float((a == b).float().mean()) - 0.5) < 4 * 0.5 / math.sqrt(x.numel())
    set_key(dropout, seed=4, step=2)
    assert torch.equal(dropout(x) != 0, first)
    dropout.eval()(x)
    dropout.train()
    assert torch.equal(dropout(x) != 0, second)


def test_gradients_pass_through_what_is_kept() -> None:
    dropout = KeyedDropout(0.4)
    set_key(dropout, seed=3, step=1)
    x = torch.randn(6, 10, requires_grad=True)
    y = dropout(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, (y != 0) * dropout.scale)


def test_under_vmap_each_trial_has_its_own_rate_and_mask() -> None:
    alone = [KeyedDropout(rate) for rate in (0.1, 0.5, 0.8)]
    for trial, dropout in enumerate(alone):
        set_key(dropout, seed=trial, step=7)
    x = torch.randn(3, 12, 20)
    columns = [dict(d.named_buffers()) for d in alone]
    buffers = {name: torch.stack([column[name] for column in columns]) for name in columns[0]}
    together = vmap(lambda b, rows: functional_call(alone[0], b, (rows,)))(buffers, x)
    for trial, dropout in enumerate(alone):
        set_key(dropout, seed=trial, step=7)
        assert torch.equal(together[trial], dropout(x[trial]))


def test_a_users_dropout_layers_are_replaced_wherever_they_are() -> None:
    inner = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.3))
    module = nn.Sequential(nn.Dropout(0.1), inner, nn.Dropout2d(0.2))
    names = list(module.state_dict())
    assert replace_dropout(module) is module
    found = keyed_dropouts(module)
    assert [round(1 - 1 / float(d.scale), 6) for d in found] == [0.1, 0.3]
    assert isinstance(module[2], nn.Dropout2d)
    assert list(module.state_dict()) == names
    assert isinstance(replace_dropout(nn.Dropout(0.5)), KeyedDropout)


def test_another_rate_can_be_set_for_all() -> None:
    module = replace_dropout(nn.Sequential(nn.Dropout(0.1), nn.ReLU(), nn.Dropout(0.2)), rate=0.75)
    assert [float(d.scale) for d in keyed_dropouts(module)] == [4.0, 4.0]


def test_rates_of_layers_go_from_the_first_to_the_last_in_equal_steps() -> None:
    assert dropout_rates(0.3, None, 3) == (0.3, 0.3, 0.3)
    assert dropout_rates(0.1, 0.5, 3) == pytest.approx((0.1, 0.3, 0.5))
    assert dropout_rates(0.1, 0.5, 1) == (0.1,)
    assert dropout_rates(0.1, 0.5, 0) == ()
