"""Targets of which an example may have any number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.data.helpers import load, load_csv, rows
from tuner.errors import DataError

TEXT = "x,red,round,sweet\n" + rows("1,0,1,1", "2,1,1,0", "3,1,0,1", "4,0,0,0", "5,1,1,1")


def test_columns_of_zeros_and_ones_are_labels(tmp_path: Path) -> None:
    data = load_csv(tmp_path, TEXT, target=["red", "round", "sweet"])
    info = data.info
    assert (info.task, info.num_outputs, info.class_names) == ("multi_label", 3, ("red", "round", "sweet"))
    assert info.target_std == ()
    assert data.train.targets.dtype is torch.float32
    assert set(data.train.targets.unique().tolist()) == {0.0, 1.0}


def test_a_two_dimensional_target_is_labels(tmp_path: Path) -> None:
    y = np.random.default_rng(0).random((50, 4)) < 0.4
    np.savez(tmp_path / "a.npz", x=np.arange(50.0), y=y)
    info = load(tmp_path, source="a.npz").info
    assert (info.task, info.class_names) == ("multi_label", ("label_1", "label_2", "label_3", "label_4"))
    assert load(tmp_path, source="a.npz", task="regression").info.task == "regression"


def test_one_label_for_each_example_is_a_class_unless_the_sweep_file_says_otherwise(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(60.0), y=np.eye(3)[np.arange(60) % 3])
    assert load(tmp_path, source="a.npz").info.task == "classification"
    assert load(tmp_path, source="a.npz", task="multi_label").info.task == "multi_label"


def test_a_rare_label_has_its_share_of_each_part(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    y = np.column_stack([random.random(500) < 0.5, random.random(500) < 0.5, np.arange(500) % 50 == 0])
    np.savez(tmp_path / "a.npz", x=random.normal(size=(500, 3)), y=y)
    data = load(tmp_path, source="a.npz")
    assert (int(data.train.targets[:, 2].sum()), int(data.dev.targets[:, 2].sum())) == (6, 2)


@pytest.mark.parametrize(
    ("text", "data", "message"),
    [
        ("x,a,b\n1,0,1\n2,1,3\n", {"task": "multi_label", "target": ["a", "b"]},
         'data.csv, row 2: the label b is "3"; task: multi_label needs 0 or 1 in each target'),
        ("x,a,b\n1,0,1\n2,yes,0\n", {"task": "multi_label", "target": ["a", "b"]},
         'data.csv, row 2: the target "yes" is no number; several targets must be numbers'),
        ("x,a,b\n1,0,1\n2,0,1\n", {"task": "multi_label", "target": ["a", "b"]},
         "data.csv: no label tells the examples apart; each is the same in all of them"),
        ("x,a,b\n" + rows("1,0,1", "2,1,1", times=1), {"task": "classification", "target": ["a", "b"]},
         "data.csv: classification needs one target, got 2; give one, or task: regression, or task: multi_label for "
         "labels of 0 and 1"),
    ],
)  # fmt: skip
def test_what_are_no_labels_is_refused(text: str, data: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_csv(tmp_path, text, **data)
    assert str(error.value) == message


def test_a_label_that_never_changes_is_noted(tmp_path: Path) -> None:
    text = "x,a,b,c\n" + rows("1,0,1,0", "2,1,1,0", "3,1,0,0")
    notes = load_csv(tmp_path, text, target=["a", "b", "c"]).info.notes
    assert "the label c is the same in all examples, so that nothing can be learnt of it" in notes
