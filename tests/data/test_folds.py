# ruff: noqa: E501  each message is written out on its one line
"""Folds: every example once, equal sizes, classes in proportion, groups whole, time forward, the test part in none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.helpers import examples, load, load_csv, sweep
from tests.depth import at_depth
from tuner.data.folds import fold_positions
from tuner.data.test_set import load_test_split
from tuner.errors import DataError

few = settings(max_examples=at_depth(30), deadline=None)


@few
@given(seed=st.integers(0, 1000), folds=st.integers(2, 7), size=st.integers(60, 150), classes=st.integers(2, 4))
def test_folds_share_examples_and_classes_out_evenly(seed: int, folds: int, size: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    targets = np.append(np.repeat(np.arange(classes), folds), random.integers(0, classes, size - classes * folds))
    pool = examples(random.normal(size=(size, 2)), targets)
    found = fold_positions(pool, folds=folds, seed=seed)
    assert sorted(np.concatenate([dev for _, dev in found])) == list(range(size))
    sizes = [len(dev) for _, dev in found]
    assert max(sizes) - min(sizes) <= 1
    for train, dev in found:
        assert sorted([*train, *dev]) == list(range(size))
        counts, whole = np.bincount(targets[dev], minlength=classes), np.bincount(targets, minlength=classes)
        assert (np.abs(counts - whole / folds) < 1).all()


def test_folds_do_not_depend_on_the_order_of_the_rows() -> None:
    random = np.random.default_rng(0)
    pool = examples(random.normal(size=(40, 2)), np.arange(40) % 2)
    order = random.permutation(40)
    first = {frozenset(dev.tolist()) for _, dev in fold_positions(pool, folds=4, seed=3)}
    again = {frozenset(order[dev].tolist()) for _, dev in fold_positions(pool.take(order), folds=4, seed=3)}
    assert first == again
    assert first != {frozenset(dev.tolist()) for _, dev in fold_positions(pool, folds=4, seed=4)}


def test_repeats_share_the_same_examples_out_anew(tmp_path: Path) -> None:
    once = load(tmp_path, source="sklearn/wine", folds=5)
    often = load(tmp_path, source="sklearn/wine", folds={"count": 5, "repeats": 3})
    assert (often.info.folds, often.info.repeats, often.info.num_dev, len(often.dev)) == (15, 3, 143, 3 * 143)
    of_each = [sorted(torch.cat([fold.dev for fold in often.folds[5 * r : 5 * r + 5]]).tolist()) for r in range(3)]
    assert of_each == [list(range(143))] * 3
    assert all(torch.equal(own.dev, other.dev) for own, other in zip(once.folds, often.folds[:5], strict=True))
    assert len({frozenset(fold.dev.tolist()) for fold in often.folds}) == 15
    assert load(tmp_path, source="sklearn/wine", folds={"count": 5}).info == once.info


def test_a_group_is_never_in_both_parts_of_a_fold() -> None:
    random = np.random.default_rng(0)
    groups = random.integers(0, 12, 90)
    pool = examples(random.normal(size=(90, 2)), random.normal(size=90), groups=groups)
    found = fold_positions(pool, folds=4, seed=0)
    assert sorted(np.concatenate([dev for _, dev in found])) == list(range(90))
    for train, dev in found:
        assert not set(groups[train]) & set(groups[dev])


@few
@given(seed=st.integers(0, 1000), folds=st.integers(2, 6), repeats=st.integers(1, 4))
def test_with_times_training_comes_before_and_is_of_one_size(seed: int, folds: int, repeats: int) -> None:
    times = np.sort(np.random.default_rng(seed).integers(0, 60 * 8 // repeats, 80)).astype(float)
    pool = examples(times[:, None], times / 7, times=times)
    found = fold_positions(pool, folds=folds, seed=seed)
    assert len({len(train) for train, _ in found}) == 1
    for train, dev in found:
        assert min(len(train), len(dev)) > 0
        assert times[train].max() < times[dev].min()
    later = np.concatenate([dev for _, dev in found])
    assert later.tolist() == list(range(later[0], 80))
    assert abs(later[0] - 40) < 10


def test_the_pool_holds_all_but_the_test_examples(tmp_path: Path) -> None:
    data = load(tmp_path, source="sklearn/wine", folds=5)
    test = load_test_split(sweep(tmp_path, source="sklearn/wine", folds=5))
    assert (len(data.train), len(data.dev), len(test)) == (143, 143, 35)
    assert (data.info.num_train, data.info.num_dev, data.info.num_test, data.info.folds) == (114, 143, 35, 5)
    pool = {tuple(row) for row in data.train.inputs.tolist()}
    assert not pool & {tuple(row) for row in test.inputs.tolist()}
    # The same test examples as without folds.
    plain = load_test_split(sweep(tmp_path, source="sklearn/wine"))
    assert torch.equal(plain.targets, test.targets)
    positions = torch.cat([fold.dev for fold in data.folds])
    assert torch.equal(data.train.inputs[positions], data.dev.inputs)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("x,y\n1,0.5\n2,0.1\n3,0.2\n4,0.3\n5,0.4\n", {"folds": 4}, "data.folds: 4 examples are too few for 4 folds; use at most 2"),
    (
        "x,y\n" + "".join(f"{i},{'a' if i > 3 else 'b'}\n" for i in range(40)),
        {"folds": 5, "target": "y"},
        'data.folds: 5 folds need 5 examples of each class that are not for the test; of the target "y": "b" has 3; use fewer folds, or merge classes',
    ),
    (
        "x,g,y\n" + "".join(f"{i},{i % 4},{i / 7}\n" for i in range(40)),
        {"folds": 5, "group": "g"},
        "data.folds: 3 groups cannot be shared out to 5 folds; use at most 3",
    ),
    (
        "x,t,y\n" + "".join(f"{i},{i // 8},{i / 7}\n" for i in range(40)),
        {"folds": 5, "order": "t"},
        "data.folds: 4 distinct times are too few for 5 folds; use at most 2",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "data", "message"), REFUSED)
def test_data_that_cannot_be_folded_are_refused(text: str, data: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_csv(tmp_path, text, **data)
    assert str(error.value) == message


def test_dev_examples_given_apart_are_refused(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", x_train=np.zeros((9, 2)), y_train=np.arange(9), x_dev=np.ones((3, 2)), y_dev=np.arange(3)
    )
    with pytest.raises(
        DataError, match=r"^data.folds makes dev examples of the training examples, and dev examples are"
    ):
        load(tmp_path, source="a.npz", folds=3, task="regression")


@pytest.mark.slow
@pytest.mark.parametrize("drift", [4.0, 0.0])
def test_folds_in_time_hold_out_of_their_own_training_where_later_examples_are_others(
    drift: float, tmp_path: Path
) -> None:
    draw, day = np.random.default_rng(0), np.arange(900)
    frame = pd.DataFrame({"warmth": draw.normal(drift * (day >= 450), 1.0), "wind": draw.normal(size=900), "day": day})
    frame["grows"] = np.where(frame["wind"] + draw.normal(size=900) > 0, "yes", "no")
    frame.to_csv(tmp_path / "days.csv", index=False)
    settings: dict[str, Any] = {"source": "days.csv", "order": "day", "folds": 3}
    data = load(tmp_path, **settings)
    held_out = [fold.train_dev for fold in data.folds if fold.train_dev is not None]
    if not drift:
        assert (held_out, data.info.num_train_dev) == ([], 0)
        return
    assert [len(own) for own in held_out] == [36, 36, 36]  # a tenth of the 360 of the first half of what is no test
    assert data.info.num_train_dev == len(torch.unique(torch.cat(held_out)))
    assert data.info.num_train == 324
    for fold, own in zip(data.folds, held_out, strict=True):
        assert set(own.tolist()).isdisjoint({*fold.train.tolist(), *fold.dev.tolist()})
        assert own.max() < fold.dev.min()
    assert any("are held out to tell how much of the dev error comes of that" in note for note in data.info.notes)
    assert load(tmp_path, **settings, train_dev="off").folds[0].train_dev is None


def test_dev_examples_that_the_source_holds_are_refused_with_what_to_do(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    parts = {f"x_{part}": draw.normal(size=(60, 2)) for part in ("train", "dev")}
    parts |= {f"y_{part}": np.arange(60) % 2 for part in ("train", "dev")}
    np.savez(tmp_path / "parts.npz", **parts)
    with pytest.raises(DataError, match="leave folds out where these are what the networks are for"):
        load(tmp_path, source="parts.npz", folds=3)
