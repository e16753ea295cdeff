from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.data.helpers import examples
from tuner.data.fingerprint import data_sha256, example_hashes, hash_rows, hash_texts, shuffling_keys

tables = hnp.arrays(
    np.float64,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.sampled_from([0.0, -0.0, 1, 2, np.nan]),
)


@given(table=tables)
def test_rows_have_the_same_hash_exactly_if_they_hold_the_same_values(table: np.ndarray) -> None:
    hashes = hash_rows(table)
    for i, a in enumerate(table):
        for j, b in enumerate(table):
            assert (hashes[i] == hashes[j]) == np.array_equal(a, b, equal_nan=True)


def test_the_place_of_a_value_counts() -> None:
    a, b = hash_rows(np.array([[1.0, 2.0], [2.0, 1.0]]))
    assert a != b
    assert hash_rows(np.zeros((1, 2)))[0] != hash_rows(np.zeros((1, 3)))[0]


def test_no_two_of_many_similar_rows_collide() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(32.0)] * 3), axis=-1).reshape(-1, 3)
    assert len(np.unique(hash_rows(grid))) == len(grid)
    assert len(np.unique(hash_rows(grid.astype(np.uint8)))) == len(grid)


def test_a_long_array_is_hashed_as_its_rows_are() -> None:
    x = np.random.default_rng(0).normal(size=(300, 2000))
    assert (hash_rows(x)[[0, 137, 299]] == hash_rows(x[[0, 137, 299]])).all()


def test_hashes_stay_what_they_are_since_every_split_and_study_stands_on_them() -> None:
    assert hash_texts(["", "tuner"]).tolist() == [13020603013274838756, 6660728785461954772]
    assert hash_rows(np.array([[0.0, 1.5], [np.nan, -2.0]])).tolist() == [5951784345503859162, 15776249089242827183]
    assert hash_rows(np.arange(10, dtype=np.uint8)[None]).tolist() == [15690249196092750842]
    assert hash_rows(np.array([[1, -1]])).tolist() == [5459825852953741544]
    keys = shuffling_keys(np.array([5, 5, 7], dtype=np.uint64), seed=3)
    assert keys.tolist() == [12925011702084390712, 3545559022187710352, 11944569406830784805]


@given(
    hashes=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    seed=st.integers(0, 10),
    order=st.randoms(use_true_random=False),
)
def test_keys_belong_to_the_examples_and_not_to_their_places(hashes: list[int], seed: int, order) -> None:
    shuffled = list(hashes)
    order.shuffle(shuffled)
    keys = shuffling_keys(np.array(hashes, dtype=np.uint64), seed=seed)
    again = shuffling_keys(np.array(shuffled, dtype=np.uint64), seed=seed)
    assert sorted(zip(hashes, keys.tolist(), strict=True)) == sorted(zip(shuffled, again.tolist(), strict=True))
    assert len(np.unique(keys)) == len(keys)


def test_another_seed_gives_another_order() -> None:
    hashes = np.arange(100, dtype=np.uint64)
    orders = {tuple(np.argsort(shuffling_keys(hashes, seed=seed))) for seed in range(5)}
    assert len(orders) == 5


@pytest.mark.parametrize("what", ["input", "target", "name"])
def test_the_identity_of_a_data_set_changes_with_every_value(what: str) -> None:
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6) % 2
    before = data_sha256(examples(x, y))
    if what == "input":
        x[3, 1] += 1e-9
    elif what == "target":
        y = y.copy()
        y[2] = 1
    else:
        x = x[:, :1].repeat(2, axis=1)
    assert data_sha256(examples(x, y)) != before
    assert data_sha256(examples(np.arange(12.0).reshape(6, 2), np.arange(6) % 2)) == before


def test_target_group_and_time_are_part_of_an_example() -> None:
    x, y = np.ones((2, 1)), np.array([0, 1])
    assert len(np.unique(example_hashes(examples(x, y)))) == 2
    same = np.array([1, 1])
    assert len(np.unique(example_hashes(examples(x, same)))) == 1
    assert len(np.unique(example_hashes(examples(x, same, groups=np.array([4, 5]))))) == 2
    assert len(np.unique(example_hashes(examples(x, same, times=np.array([4.0, 5.0]))))) == 2
