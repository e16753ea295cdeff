"""Random numbers are pure functions of where they are used."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuner.models.keyed import batch_order, dropout_field, dropout_keys, dropout_threshold, generator, key, keys

SEEDS = st.integers(min_value=0, max_value=2**32 - 1)
POSITIONS = st.integers(min_value=0, max_value=2**40)
CPU = torch.device("cpu")


@given(SEEDS, st.sampled_from(["order", "dropout", "init"]), st.lists(POSITIONS, max_size=3))
def test_a_key_depends_on_its_arguments_alone(seed: int, purpose: str, position: list[int]) -> None:
    found = key(seed, purpose, *position)
    assert found == key(seed, purpose, *position)
    assert 0 <= found < 2**63
    assert generator(seed, purpose, *position).initial_seed() == found


@given(st.lists(SEEDS, min_size=1, max_size=5), st.lists(POSITIONS, min_size=1, max_size=4), POSITIONS)
def test_an_array_of_keys_holds_the_keys(seeds: list[int], steps: list[int], layer: int) -> None:
    table = keys(
        np.array(seeds, dtype=np.uint64),
        "dropout",
        np.array(steps, dtype=np.uint64)[:, None],
        np.array([[layer]], dtype=np.uint64),
    )
    expected = [[key(seed, "dropout", step, layer) for seed in seeds] for step in steps]
    assert table.tolist() == expected


def test_keys_of_neighbouring_places_have_nothing_in_common() -> None:
    """Seeds, epochs and layers that follow each other are the usual case, so they must not give related keys."""
    purposes = ("order", "init")
    places = [(seed, p, a, b) for seed in range(8) for p in purposes for a in range(16) for b in range(4)]
    found = [key(*place) for place in places]
    assert len(set(found)) == len(places)
    flipped = [(a ^ b).bit_count() for a, b in pairwise(found)]
    assert sum(flipped) / len(flipped) == pytest.approx(31.5, abs=4 * math.sqrt(63 / 4 / len(flipped)))


@given(SEEDS, st.integers(0, 100), st.integers(1, 500))
def test_an_epoch_visits_every_example_once(seed: int, epoch: int, num_examples: int) -> None:
    order = batch_order(seed, epoch, num_examples)
    assert order.dtype == torch.int64
    assert order.sort().values.tolist() == list(range(num_examples))
    assert torch.equal(order, batch_order(seed, epoch, num_examples))


def test_orders_differ_from_epoch_to_epoch_and_from_seed_to_seed() -> None:
    orders = [batch_order(seed, epoch, 50).tolist() for seed in range(4) for epoch in range(4)]
    assert len({tuple(order) for order in orders}) == 16


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = batch_order(1, 2, 100)
    dropout_keys([1, 2], np.arange(4)[:, None].repeat(2, axis=1), 3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1)
    assert torch.equal(batch_order(1, 2, 100), first)


@given(st.lists(SEEDS, min_size=1, max_size=4), st.integers(0, 10**6), st.integers(1, 3))
def test_dropout_keys_are_odd_and_those_of_each_trial_alone(seeds: list[int], step: int, num_layers: int) -> None:
    steps = np.array([[step + trial for trial in range(len(seeds))]])
    together = dropout_keys(seeds, steps, num_layers)
    assert together.shape == (1, num_layers, len(seeds))
    assert (together & 1 == 1).all()
    for trial, seed in enumerate(seeds):
        alone = dropout_keys([seed], steps[:, trial : trial + 1], num_layers)
        assert np.array_equal(alone[:, :, 0], together[:, :, trial])


def drop(rate: float, num_elements: int, steps: range, *, seed: int = 7) -> torch.Tensor:
    """Whether each element is kept in each step: bool, shape (steps, elements)."""
    found = torch.from_numpy(dropout_keys([seed], np.array(steps)[:, None], 1)[:, 0])
    return dropout_field(num_elements, CPU) * found >= dropout_threshold(rate)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5, 0.8])
def test_units_are_dropped_at_their_rate_over_units_and_over_steps(rate: float) -> None:
    steps, units = 400, 400
    dropped = (~drop(rate, units, range(steps))).double()

    def within(observed: torch.Tensor, count: int, sigmas: float) -> bool:
        return bool(((observed - rate).abs() < sigmas * math.sqrt(rate * (1 - rate) / count)).all())

    assert within(dropped.mean(), steps * units, 4)
    assert within(dropped.mean(dim=1), units, 6)  # of all 400 steps, each
    assert within(dropped.mean(dim=0), steps, 6)  # of all 400 units, each


def test_units_are_dropped_independently_of_each_other_and_of_the_step_before() -> None:
    kept = drop(0.5, 300, range(300)).double() * 2 - 1
    sigma = 1 / math.sqrt(300)
    between_units = (kept.T @ kept) / 300
    between_units.fill_diagonal_(0)
    assert between_units.abs().max() < 7 * sigma
    assert between_units.square().mean().sqrt() == pytest.approx(sigma, rel=0.1)
    assert ((kept[1:] * kept[:-1]).mean()).abs() < 4 * sigma / math.sqrt(299)


def test_a_rate_of_zero_drops_nothing() -> None:
    assert drop(0.0, 1000, range(50)).all()


def test_the_field_of_a_smaller_layer_is_the_start_of_a_larger_one() -> None:
    assert torch.equal(dropout_field(1000, CPU)[:64], dropout_field(64, CPU))
    assert (dropout_field(1000, CPU) % 2 != 0).all()
