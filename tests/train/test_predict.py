"""New raw examples are predicted as those of the dev set were, out of any kind of file, or refused by what is wrong."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.train.test_export import Trained
from tuner.data.parts import read_parts
from tuner.errors import DataError
from tuner.imports import load_object
from tuner.train.after.predict import predict_file
from tuner.train.after.predictor import preparation_of
from tuner.train.after.source import standalone_source
from tuner.train.after.standalone import write_predictions
from tuner.train.after.standalone_files import read_blocks
from tuner.train.after.standalone_inputs import InputError


def predicted(trained: Trained, given: Path, *keep: str) -> tuple[pd.DataFrame, list[str]]:
    out = given.parent / "out.csv"
    notes = predict_file(trained.spec, trained.trials, trained.data.info, given, out, keep=keep)
    return pd.read_csv(out), notes


@pytest.fixture
def patients(tmp_path: Path) -> Trained:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "number": random.permutation(80),
            "age": random.integers(20, 90, 80).astype(float),
            "smokes": random.random(80) < 0.5,
            "ward": random.choice(["north", "south", "none"], 80),
            "grade": random.integers(1, 4, 80),
            "came": [f"2024-{i % 12 + 1:02d}-0{i % 9 + 1}" for i in range(80)],
            "stay": random.normal(5, 2, 80).round(3),
        }
    )
    frame.loc[::7, "age"] = np.nan
    frame.loc[::9, "ward"] = None
    frame.to_csv(tmp_path / "patients.csv", index=False)
    asked = {
        "source": "patients.csv",
        "target": "stay",
        "ignore": ["numb*"],
        "categorical": ["grade"],
        "dates": "expand",
    }
    return Trained(tmp_path, data=asked)


def dev_rows(trained: Trained, folder: Path) -> pd.DataFrame:
    """The dev examples as their file has them, every cell a text."""
    rows = read_parts(trained.spec.data, root=folder).dev.rows
    assert rows is not None
    table = pd.read_csv(folder / str(trained.spec.data.source), dtype=str, keep_default_na=False)
    return table.iloc[rows - 1]


@pytest.mark.slow
def test_rows_of_a_table_are_predicted_as_the_dev_rows_were(patients: Trained, tmp_path: Path) -> None:
    rows = dev_rows(patients, tmp_path)
    new = tmp_path / "new.csv"
    rows.to_csv(new, index=False)
    found, notes = predicted(patients, new)
    assert list(found) == ["stay"]
    np.testing.assert_allclose(found["stay"], patients.expected[:, 0], rtol=1e-4)
    assert notes == []
    shuffled = rows[["ward", "came", "grade", "age", "smokes", "number"]].assign(grade=rows["grade"] + ".0")
    with gzip.open(tmp_path / "new.csv.gz", "wt") as file:
        shuffled.to_csv(file, index=False, sep=";")
    found, _ = predicted(patients, tmp_path / "new.csv.gz", "number", "ward")
    assert list(found) == ["number", "ward", "stay"]
    assert found["number"].tolist() == rows["number"].astype(int).tolist()
    np.testing.assert_allclose(found["stay"], patients.expected[:, 0], rtol=1e-4)


@pytest.mark.slow
def test_rows_of_parquet_are_predicted_as_those_of_csv(patients: Trained, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    typed = pd.read_csv(tmp_path / "patients.csv", parse_dates=["came"]).iloc[dev_rows(patients, tmp_path).index]
    typed.to_parquet(tmp_path / "new.parquet")
    found, _ = predicted(patients, tmp_path / "new.parquet")
    np.testing.assert_allclose(found["stay"], patients.expected[:, 0], rtol=1e-4)


@pytest.mark.slow
def test_a_category_that_training_never_had_is_said(patients: Trained, tmp_path: Path) -> None:
    dev_rows(patients, tmp_path).assign(ward="west").to_csv(tmp_path / "new.csv", index=False)
    _, notes = predicted(patients, tmp_path / "new.csv")
    assert notes == ["column ward: the training examples had no west, which is taken for none of its categories"]


REFUSED = [
    ("Age,smokes,ward,grade,came", "1,True,north,1,2024-01-01", "new.csv has no column age (is it Age?), which the"),
    ("age,ward,grade,came", "1,north,1,2024-01-01", "new.csv has no column smokes, which the network was trained with"),
    ("age,smokes,ward,grade", "1,True,north,1", "no column came, which"),
    ("age,smokes,ward,grade,came,bed", "1,True,north,1,2024-01-01,3", "column bed; remove it, or have it before"),
    ("age,smokes,ward,grade,came", "old,True,north,1,2024-01-01", 'row 1: column age holds "old", which is no number'),
    ("age,smokes,ward,grade,came", "inf,True,north,1,2024-01-01", "row 1: column age holds inf, which is too large"),
    ("age,smokes,ward,grade,came", "1,True,north,1,soon", 'row 1: column came holds "soon", no date as 2024-12-31'),
    ("age,smokes,ward,grade,came", "1,True,north,1", "new.csv, row 1 has 4 fields, and its line of names 5"),
    ("age,age,smokes,ward,grade,came", "1,1,True,north,1,2024-01-01", "two columns are called age; rename one"),
    ("age,smokes,ward,grade,came", "", "there are no examples"),
    ("", "", "new.csv is empty"),
]


def test_what_cannot_be_predicted_is_said(patients: Trained, tmp_path: Path) -> None:
    known, new = preparation_of(patients.spec, patients.data.info), tmp_path / "new.csv"
    for line, row, said in REFUSED:
        new.write_text(f"{line}\n{row}\n")
        with pytest.raises(InputError) as caught:
            write_predictions(read_blocks(new, known), known, lambda inputs: inputs[:, :1], io.StringIO())
        assert said in str(caught.value)
    new.write_text("age,smokes,ward,grade,came\n1,True,north,1,2024-01-01\n")
    with pytest.raises(InputError, match="has no column bed to keep; there are age, smokes"):
        list(read_blocks(new, known, ["bed"]))


@pytest.fixture
def pictures(tmp_path: Path) -> Trained:
    image = pytest.importorskip("PIL.Image")
    random = np.random.default_rng(0)
    for i in range(40):
        file = tmp_path / "pictures" / ("cat", "dog")[i % 2] / f"{i:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(random.integers(0, 255, (6, 6, 3)).astype(np.uint8)).save(file)
    return Trained(tmp_path, data={"source": "pictures", "split": {"train": 0.5, "dev": 0.5}})


def test_a_folder_of_images_is_predicted(pictures: Trained, tmp_path: Path) -> None:
    found, _ = predicted(pictures, tmp_path / "pictures")
    dev = read_parts(pictures.spec.data, root=tmp_path).dev
    assert dev.rows is not None
    assert list(found) == ["file", "class", "cat", "dog"]
    assert found["file"][0] == "cat/00.png"
    np.testing.assert_allclose(found[["cat", "dog"]].iloc[dev.rows - 1], pictures.expected, atol=1e-5)


def test_images_as_arrays_may_have_their_channels_last(pictures: Trained, tmp_path: Path) -> None:
    dev = np.asarray(read_parts(pictures.spec.data, root=tmp_path).dev.numbers)
    np.savez(tmp_path / "new.npz", x=np.moveaxis(dev, 1, 3), y=np.zeros(len(dev)))
    found, _ = predicted(pictures, tmp_path / "new.npz")
    np.testing.assert_allclose(found[["cat", "dog"]], pictures.expected, atol=1e-5)
    np.save(tmp_path / "new.npy", dev[:, :, :5])
    with pytest.raises(DataError, match=r"each example has the shape \(3, 5, 6\), and those .* \(3, 6, 6\)"):
        predicted(pictures, tmp_path / "new.npy")


def test_images_of_other_kinds_are_refused(pictures: Trained, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "new").mkdir()
    with pytest.raises(DataError, match="there are no examples"):
        predicted(pictures, tmp_path / "new")
    image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "new" / "wide.png")
    with pytest.raises(DataError, match=r"wide.png has 8x6 pixels in 3 channels, and .* 6x6 pixels in 3 channels"):
        predicted(pictures, tmp_path / "new")
    (tmp_path / "new" / "wide.png").write_text("no picture")
    with pytest.raises(DataError, match=r"wide\.png is no image that can be read"):
        predicted(pictures, tmp_path / "new")


def test_the_source_of_an_exported_folder_is_one_file_without_tuner(tmp_path: Path) -> None:
    source = standalone_source()
    (tmp_path / "predict.py").write_text(source)
    assert "from tuner" not in source
    wanted: Any = load_object("predict.py:wanted_columns", root=tmp_path)
    assert wanted({"names": ["a", "b.year"], "texts": [{"name": "c"}], "dates": ["b"]}) == ["a", "c", "b"]
