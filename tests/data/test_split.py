# ruff: noqa: E501  each message is written out on its one line
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.data.helpers import examples, load_csv, rows
from tests.depth import at_depth
from tuner.data.examples import DEV, TEST, TRAIN, Examples
from tuner.data.split import apportion, auto_share, split_examples
from tuner.errors import DataError
from tuner.spec.model import DataSpec, SplitSpec

few = settings(max_examples=at_depth(60), deadline=None)
seeds = st.integers(0, 2**32 - 1)


def spec(split: object = "auto", **more: object) -> DataSpec:
    return DataSpec(source="x.csv", split=split, **more)


def class_data(seed: int, sizes: list[int]) -> Examples:
    random = np.random.default_rng(seed)
    targets = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return examples(random.integers(0, 3, (len(targets), 2)).astype(np.float64), targets)


@st.composite
def share_triples(draw: st.DrawFn) -> SplitSpec:
    dev = draw(st.integers(1, 45)) / 100
    test = draw(st.integers(0, 45)) / 100
    return SplitSpec(train=1 - dev - test, dev=dev, test=test)


@few
@given(seed=seeds, sizes=st.lists(st.integers(3, 40), min_size=2, max_size=8), shares=share_triples())
def test_a_split_is_a_partition_that_keeps_the_share_of_every_class(
    seed: int, sizes: list[int], shares: SplitSpec
) -> None:
    data = class_data(seed, sizes)
    parts = split_examples(data, spec(shares))
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(data)))
    for c, size in enumerate(sizes):
        for index, share in zip(parts[1:], (shares.dev, shares.test), strict=True):
            count = int((data.targets[index] == c).sum())
            assert abs(count - share * size) < 1
            assert count >= (1 if share else 0)


@few
@given(seed=seeds, sizes=st.lists(st.integers(3, 40), min_size=1, max_size=30), shares=share_triples())
def test_rounding_does_not_add_up_over_the_classes(seed: int, sizes: list[int], shares: SplitSpec) -> None:
    wanted = np.array([shares.train, shares.dev, shares.test])
    assume(all(size * share >= 1 or not share for size in sizes for share in wanted))
    allocation = apportion(np.array(sizes), wanted)
    assert (allocation.sum(axis=1) == sizes).all()
    assert (np.abs(allocation - np.outer(sizes, wanted)) < 1).all()
    assert (np.abs(allocation.sum(axis=0) - sum(sizes) * wanted) < 2).all()


@few
@given(seed=seeds, num=st.integers(3, 200), shares=share_triples())
def test_numbers_to_predict_are_shuffled_and_split_by_share(seed: int, num: int, shares: SplitSpec) -> None:
    random = np.random.default_rng(seed)
    data = examples(random.normal(size=(num, 1)), random.normal(size=num))
    parts = split_examples(data, spec(shares))
    assert sorted(np.concatenate(parts).tolist()) == list(range(num))
    for index, share in zip(parts, (shares.train, shares.dev, shares.test), strict=True):
        assert abs(len(index) - num * share) < 1 or len(index) == 1 or share == shares.train
    assert all(len(parts[part]) for part in (TRAIN, DEV))


@few
@given(seed=seeds, kind=st.sampled_from(["classes", "numbers", "groups", "times"]))
def test_the_order_of_the_rows_does_not_matter(seed: int, kind: str) -> None:
    random = np.random.default_rng(seed)
    x = random.integers(0, 4, (60, 2)).astype(np.float64)  # many rows are equal
    y = random.normal(size=60).round() if kind == "numbers" else random.permutation(np.repeat([0, 1, 2], 20))
    if kind in ("groups", "times"):
        y = y % 2
    groups = random.integers(0, 9, 60) if kind == "groups" else None
    times = random.integers(0, 30, 60).astype(np.float64) if kind == "times" else None
    data = examples(x, y, groups=groups, times=times)
    shuffled = data.take(random.permutation(60))
    try:
        parts = split_examples(data, spec())
    except DataError:  # a class may be missing from a group's or a time's part
        with pytest.raises(DataError):
            split_examples(shuffled, spec())
        return
    for a, b in zip(parts, split_examples(shuffled, spec()), strict=True):
        np.testing.assert_array_equal(data.numbers[a], shuffled.numbers[b])
        np.testing.assert_array_equal(data.targets[a], shuffled.targets[b])


def test_the_seed_decides() -> None:
    data = class_data(0, [50, 50])
    first, again, other = (split_examples(data, spec(seed=seed))[DEV].tolist() for seed in (1, 1, 2))
    assert first == again != other


def test_a_row_that_is_added_moves_few_others() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(1001, 2))
    y = np.arange(1001) % 2
    before = split_examples(examples(x[:1000], y[:1000]), spec())[TRAIN]
    after = split_examples(examples(x, y), spec())[TRAIN]
    assert len(set(before) - set(after)) <= 3


def test_a_part_begins_with_no_class_in_particular() -> None:
    data = class_data(3, [400, 400])
    train = data.targets[split_examples(data, spec())[TRAIN]]
    assert 0.3 < train[:50].mean() < 0.7


@few
@given(seed=seeds, num_groups=st.integers(3, 30), shares=share_triples())
def test_no_group_is_in_two_parts(seed: int, num_groups: int, shares: SplitSpec) -> None:
    random = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(num_groups), random.integers(0, num_groups, 100)])
    data = examples(random.normal(size=(len(groups), 1)), random.normal(size=len(groups)), groups=groups)
    parts = split_examples(data, spec(shares, group="g"))
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(data)))
    found = [set(groups[index]) for index in parts]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]
    assert all(bool(names) == bool(share) for names, share in zip(found, (1, 1, shares.test), strict=True))


def test_groups_of_one_size_keep_the_shares() -> None:
    groups = np.repeat(np.arange(50), 4)
    data = examples(np.arange(200.0)[:, None], np.arange(200.0), groups=groups)
    assert [len(index) for index in split_examples(data, spec(group="g"))] == [120, 40, 40]


@few
@given(times=st.lists(st.integers(0, 40), min_size=3, max_size=80), shares=share_triples())
def test_training_comes_before_dev_and_dev_before_test(times: list[int], shares: SplitSpec) -> None:
    assume(len(set(times)) >= 3)
    t = np.array(times, dtype=np.float64)
    data = examples(np.arange(len(t))[:, None] * 1.0, np.arange(len(t)) * 1.0, times=t)
    train, dev, test = split_examples(data, spec(shares, order="t"))
    assert sorted([*train, *dev, *test]) == list(range(len(t)))
    assert t[train].max() < t[dev].min()
    assert not shares.test or t[dev].max() < t[test].min()
    assert (np.diff(t[train]) >= 0).all()


def test_distinct_times_keep_the_shares() -> None:
    t = np.random.default_rng(0).permutation(100).astype(np.float64)
    data = examples(t[:, None], t, times=t)
    assert [len(index) for index in split_examples(data, spec(order="t"))] == [60, 20, 20]


def test_auto_follows_the_size_of_the_data() -> None:
    assert auto_share(30) == auto_share(10_000) == 0.2
    assert auto_share(100_000) == pytest.approx(0.0447, abs=1e-4)
    assert auto_share(1_000_000) == pytest.approx(0.01)
    assert auto_share(50_000_000) == 0.01


@given(a=st.integers(1, 10**8), b=st.integers(1, 10**8))
def test_more_data_means_a_smaller_share_of_more_dev_examples(a: int, b: int) -> None:
    a, b = min(a, b), max(a, b)
    assert auto_share(a) >= auto_share(b)
    assert a * auto_share(a) <= b * auto_share(b) + 1e-6


def test_parts_given_apart_are_left_as_they_are() -> None:
    x, y = np.arange(40.0)[:, None], np.arange(40) % 2
    parts = np.repeat(np.array([TRAIN, DEV, TEST], dtype=np.int8), [30, 6, 4])
    found = split_examples(examples(x, y, parts=parts), spec())
    assert [set(index) for index in found] == [set(range(30)), set(range(30, 36)), set(range(36, 40))]


def test_a_test_part_given_apart_leaves_train_and_dev_to_be_split() -> None:
    x, y = np.arange(110.0)[:, None], np.arange(110) % 2
    parts = np.repeat(np.array([TRAIN, TEST], dtype=np.int8), [100, 10])
    train, dev, test = split_examples(examples(x, y, parts=parts), spec())
    assert (len(train), len(dev), set(test)) == (80, 20, set(range(100, 110)))
    train, dev, _ = split_examples(examples(x, y, parts=parts), spec(SplitSpec(train=0.6, dev=0.3, test=0.1)))
    assert (len(train), len(dev)) == (67, 33)


@pytest.mark.parametrize(
    ("text", "data", "message"),
    [
        (
            "x,y\n" + rows("1,a", "2,b") + "3,c\n3,c\n",
            {},
            "a split into train, dev and test needs at least 3 examples of each class; "
            'of the target "y": "c" has 2; merge or remove these classes, or set task: regression if the target is an amount',
        ),
        (
            "x,y\n" + "".join(f"{i},name{i}\n" for i in range(9)),
            {"split": {"train": 0.8, "dev": 0.2}, "target": "y"},
            'a split into train and dev needs at least 2 examples of each class; of the target "y": "name0" has 1, "name1" has 1, "name2" '
            "has 1 and 6 more have too few; merge or remove these classes, or set task: regression if the target is an amount",
        ),
        ("x,y\n1,0.5\n2,0.7\n", {}, "too few examples (2) to split into train, dev and test; give more data"),
        (
            "x,g,y\n" + rows("1,p,0.5", "2,q,0.1"),
            {"group": "g"},
            "data.group: 2 groups cannot be split into train, dev and test; give more groups",
        ),
        (
            "x,t,y\n" + rows("1,2020,0.5", "2,2021,0.1"),
            {"order": "t"},
            "data.order: 2 distinct times cannot be split into train, dev and test; name a column that tells the "
            "examples apart in time",
        ),
        (
            "x,t,y\n" + "".join(f"{i},{i},{'new' if i > 8 else 'old'}\n" for i in range(10)),
            {"order": "t"},
            'the class "new" occurs in test and never in train, so no network can learn it; add training examples of '
            "it, or leave the class out",
        ),
        (
            "x,t,g,y\n" + rows("1,1,a,0.5"),
            {"order": "t", "group": "g"},
            "data.group and data.order cannot be combined; split by one of them",
        ),
        (
            "x,y\n" + rows("1,0.5"),
            {"split": {"train": 0.5, "dev": 0.2}},
            "data.split: train, dev and test must sum to 1, got 0.7",
        ),
    ],
)
def test_a_split_that_cannot_be_made_says_why(text: str, data: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_csv(tmp_path, text, **{"target": "y", **data})
    assert str(error.value) == message


def test_where_the_sweep_file_names_no_target_the_column_that_was_taken_is_said(tmp_path: Path) -> None:
    text = "id,grade,age\n" + "".join(f"{i},{i % 2},{20 + i // 2 if i < 9 else i % 3}\n" for i in range(60))
    for data in ({}, {"folds": 5}):
        with pytest.raises(DataError) as error:
            load_csv(tmp_path, text, task="classification", **data)
        said = str(error.value)
        assert 'of the target "age", the last column, since data.target names none: "' in said
        assert said.endswith(", or name the column that is meant as data.target")


@pytest.mark.parametrize(
    ("key", "dev", "message"),
    [
        (
            "group",
            "9,b,0.3",
            "data.group: train and dev are given apart and share a group; move its examples to one of them",
        ),
        ("order", "9,a,0.3", "data.order: train is given apart and ends after dev begins"),
    ],
)
def test_parts_given_apart_must_respect_groups_and_time(key: str, dev: str, message: str, tmp_path: Path) -> None:
    train = {"group": rows("1,a,0.1", "2,b,0.2"), "order": rows("1,5,0.1", "2,7,0.2")}[key]
    (tmp_path / "dev.csv").write_text("x,k,y\n" + (dev if key == "group" else "9,6,0.3") + "\n")
    with pytest.raises(DataError) as error:
        load_csv(tmp_path, "x,k,y\n" + train, dev="dev.csv", **{key: "k"})
    assert str(error.value) == message
