"""A train-dev part is held out where dev examples may be of another distribution, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.data.helpers import load, sweep
from tuner.data.load import load_training_data, measure_training_part
from tuner.data.test_set import load_test_split
from tuner.spec.model import DataSpec

pytestmark = pytest.mark.slow  # the classifiers take a second


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Files of one distribution, and `warm.csv` of another."""
    draw = np.random.default_rng(0)
    for name, size, mean in (("train", 900, 20.0), ("same", 200, 20.0), ("warm", 200, 26.0), ("few", 60, 20.0)):
        frame = pd.DataFrame({"temperature": draw.normal(mean, 2.0, size), "humidity": draw.normal(size=size)})
        frame["visit"] = np.arange(size) // 5 + 1000 * (name != "train")
        frame["grows"] = np.where(frame["humidity"] + draw.normal(size=size) > 0, "yes", "no")
        frame.loc[0, "grows"] = "rare" if name == "train" else "yes"
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    return tmp_path


def test_a_tenth_of_the_training_examples_is_held_out_where_dev_examples_are_given_apart(files: Path) -> None:
    data = load(files, source="train.csv", dev="same.csv", ignore=["visit"])
    assert data.train_dev is not None
    assert (data.info.num_train, data.info.num_train_dev, len(data.train_dev)) == (810, 90, 90)
    assert data.info.num_dev == 200
    assert 0.35 < float((data.train_dev.targets == 0).float().mean()) < 0.65  # of each class its share
    assert set(data.train.targets.tolist()) == {0, 1, 2}  # the only example of a class is trained on
    held_out = {tuple(row) for row in data.train_dev.inputs.tolist()}
    assert held_out.isdisjoint(tuple(row) for row in data.train.inputs.tolist())


@pytest.mark.parametrize(
    "data",
    [
        {"dev": "same.csv", "train_dev": "off"},
        {"dev": "few.csv", "source": "few.csv"},  # of which a tenth tells nothing
        {"source": "few.csv"},
    ],
)
def test_nothing_is_held_out_where_it_is_off_too_small_or_without_need(data: dict[str, str], files: Path) -> None:
    found = load(files, **{"source": "train.csv", "ignore": ["visit", "temperature"], "split": "auto", **data})  # type: ignore[arg-type]
    assert found.train_dev is None
    assert found.info.num_train_dev == 0


def test_a_shift_is_said_with_what_is_held_out_for_it(files: Path) -> None:
    info = load(files, source="train.csv", dev="warm.csv", ignore=["visit"]).info
    (note,) = [note for note in info.notes if "different distributions" in note]
    assert "most by temperature" in note
    assert "90 training examples are held out to tell how much of the dev error comes of that" in note


def test_groups_are_held_out_whole(files: Path) -> None:
    train, _ = measure_training_part(sweep(files, source="train.csv", dev="same.csv", group="visit"))
    data = load(files, source="train.csv", dev="same.csv", group="visit")
    assert data.train_dev is not None
    assert len(train) + len(data.train_dev) == 900
    assert train.groups is not None
    assert np.bincount(np.unique(train.groups, return_inverse=True)[1]).min() == 5


@pytest.mark.deep
def test_every_reader_prepares_by_the_examples_that_are_trained_on(files: Path) -> None:
    spec = sweep(files, source="train.csv", dev="same.csv", test="warm.csv", ignore=["visit"])
    data = load_training_data(spec)
    train, preparation = measure_training_part(spec)
    assert len(train) == data.info.num_train
    assert preparation.apply(train).inputs.equal(data.train.inputs)
    test = load_test_split(spec, known={"sha256": data.info.sha256})
    raw = pd.read_csv(files / "warm.csv")["temperature"].to_numpy()
    expected = (raw.mean() - preparation.mean[0]) / preparation.std[0]
    assert float(test.inputs[:, 0].mean()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.deep
def test_inputs_of_test_examples_that_are_given_apart_are_compared_without_their_targets(files: Path) -> None:
    def notes(test: str, *, dev: str = "same.csv") -> list[str]:
        info = load(files, source="train.csv", dev=dev, test=test, ignore=["visit"]).info
        return [note for note in info.notes if note.startswith("a classifier tells test")]

    assert notes("few.csv") == []
    (of_dev,) = notes("warm.csv")
    assert of_dev.startswith("a classifier tells test from dev examples with AUROC 0.9")
    assert "most by temperature" in of_dev
    assert "by their inputs alone" in of_dev
    # The test examples are like the training examples, and the dev examples are not: only they are named.
    (of_dev,) = notes("same.csv", dev="warm.csv")
    assert of_dev.startswith("a classifier tells test from dev examples with AUROC 0.9")
    other = pd.read_csv(files / "same.csv")
    other["grows"] = "yes"  # its targets differ as much as they can, and are not looked at
    other.to_csv(files / "told.csv", index=False)
    assert notes("told.csv") == []


def test_it_is_read_from_a_sweep_file() -> None:
    assert DataSpec(source="x.csv").train_dev == "auto"
    assert DataSpec.model_validate({"source": "x.csv", "train_dev": "off"}).train_dev == "off"
