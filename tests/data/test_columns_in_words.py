"""Who names no target sees which column is predicted, from which, and whether one of these gives it away."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tuner.data.load import load_training_data
from tuner.records import DataInfo
from tuner.spec.model import DataSpec, ModelSpec, SweepSpec

COUNT = 400


def frame() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    age, job = draw.integers(18, 80, COUNT), draw.choice(["none", "clerk", "smith"], COUNT)
    price = 3.0 * age + draw.normal(0, 30, COUNT)
    return pd.DataFrame({"age": age, "job": job, "price": price.round(2), "grade": (price > 140).astype(int)})


def info_of(table: pd.DataFrame, folder: Path, **data: object) -> DataInfo:
    table.to_csv(folder / "t.csv", index=False)
    spec = SweepSpec(
        study="t",
        root=str(folder),
        data=DataSpec(source="t.csv", **data),
        model=ModelSpec(kind="mlp"),  # type: ignore[arg-type]
    )
    return load_training_data(spec).info


def test_the_target_that_nobody_named_is_said_to_be_the_last_column(tmp_path: Path) -> None:
    found = info_of(frame(), tmp_path, ignore=["price"]).columns
    assert found == (
        'target "grade", the last column, since data.target names none: 2 classes (0, 1); inputs: 1 column of numbers '
        "(age) and 1 column of categories (job)"
    )


def test_a_target_that_is_named_has_its_range_and_many_columns_are_counted(tmp_path: Path) -> None:
    wide = frame().drop(columns="grade").assign(**{f"x{i}": np.arange(COUNT) % (i + 2) for i in range(8)})
    found = info_of(wide, tmp_path, target="price").columns
    assert found.startswith('target "price": ')
    assert " in training; inputs: 9 columns of numbers (age, x0, x1, x2, x3, x4 and 3 more)" in found


def test_of_images_there_is_nothing_to_say(tmp_path: Path) -> None:
    spec = SweepSpec(study="t", root=str(tmp_path), data=DataSpec(source="sklearn/digits"), model=ModelSpec(kind="mlp"))
    assert load_training_data(spec).info.columns == ""


def test_a_bundled_table_has_its_target_by_itself() -> None:
    spec = SweepSpec(study="t", root=".", data=DataSpec(source="sklearn/iris"), model=ModelSpec(kind="mlp"))
    found = load_training_data(spec).info.columns
    assert found.startswith('target "species": 3 classes (setosa, versicolor, virginica); inputs: 4 columns of numbers')


@pytest.mark.parametrize(
    ("target", "leaks", "said"),
    [
        (
            "grade",
            ("price", "euros"),
            "columns price and euros each by themselves tell the target of nearly every example; if they are not known "
            "before the target is, leave them out: data.ignore: [price, euros]",
        ),
        (
            "price",
            ("euros",),
            "column euros by itself tells the target of nearly every example; if it is not known before the target is, "
            "leave it out: data.ignore: [euros]",
        ),
    ],
)
def test_columns_that_give_the_target_away_are_told_with_the_line_that_leaves_them_out(
    target: str, leaks: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    table = frame()
    table["euros"] = table["price"] * 0.92
    table["grade"] = (table["price"] > table["price"].median()).astype(int)
    info = info_of(table, tmp_path, target=target)
    assert info.telling_columns == leaks
    assert [note for note in info.notes if "sel" in note and "tell" in note] == [said]


def test_a_class_that_nearly_all_have_is_told_by_no_column(tmp_path: Path) -> None:
    table = frame()
    table["grade"] = (np.arange(COUNT) % 50 == 0).astype(int)
    assert not [n for n in info_of(table, tmp_path, target="grade").notes if "by itself" in n or "by themselves" in n]
