from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.data.helpers import load, load_csv, rows, sweep
from tuner.data.dataset import TrainingData
from tuner.data.load import load_training_data
from tuner.data.test_set import load_test_split
from tuner.errors import DataError
from tuner.spec.model import ObjectiveSpec


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Sixty rows of numbers, categories and missing values, some of them twice."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.integers(20, 90, 60).astype(float),
            "ward": random.choice(["north", "south", "west"], 60),
            "dose": random.normal(size=60).round(1),
            "outcome": random.choice(["ill", "well"], 60),
        }
    )
    frame.loc[::7, "age"] = np.nan
    frame.iloc[50:] = frame.iloc[:10].to_numpy()
    frame.to_csv(tmp_path / "patients.csv", index=False)
    return tmp_path


def same(a: TrainingData, b: TrainingData) -> bool:
    pairs = ((a.train, b.train), (a.dev, b.dev))
    return a.info == b.info and all(x.inputs.equal(y.inputs) and x.targets.equal(y.targets) for x, y in pairs)


def test_the_same_file_always_gives_the_same_tensors_in_whatever_order_its_rows_are(patients: Path) -> None:
    first = load(patients, source="patients.csv")
    assert same(first, load(patients, source="patients.csv"))
    frame = pd.read_csv(patients / "patients.csv")
    frame.sample(frac=1, random_state=3).to_csv(patients / "patients.csv", index=False)
    assert same(first, load(patients, source="patients.csv"))


def test_the_seed_of_the_split_is_the_sweep_files(patients: Path) -> None:
    a, b = (load(patients, source="patients.csv", seed=seed) for seed in (0, 1))
    assert a.info.sha256 != b.info.sha256


def test_a_changed_value_is_noticed(patients: Path) -> None:
    before = load(patients, source="patients.csv").info.sha256
    frame = pd.read_csv(patients / "patients.csv")
    frame.loc[20, "dose"] += 0.1
    frame.to_csv(patients / "patients.csv", index=False)
    assert load(patients, source="patients.csv").info.sha256 != before


def test_tensors_are_what_the_facts_say(patients: Path) -> None:
    data = load(patients, source="patients.csv")
    assert data.info.feature_names == ("age", "dose", "ward=north", "ward=south", "ward=west", "age missing")
    for split, num in ((data.train, data.info.num_train), (data.dev, data.info.num_dev)):
        assert split.inputs.shape == (num, *data.info.input_shape)
        assert split.inputs.dtype is torch.float32
        assert split.targets.dtype is torch.int64
        assert set(split.targets.tolist()) == {0, 1}
        assert split.inputs.isfinite().all()
    assert data.info.class_names == ("ill", "well")
    assert (data.info.num_train, data.info.num_dev, data.info.num_test) == (36, 12, 12)


def test_copies_between_the_parts_are_counted(patients: Path) -> None:
    spec = sweep(patients, source="patients.csv")
    data = load_training_data(spec)
    train, dev = data.train.inputs.tolist(), data.dev.inputs.tolist()
    test = load_test_split(spec).inputs.tolist()
    assert data.info.dev_in_train == sum(x in train for x in dev) > 0
    assert data.info.test_in_train == sum(x in train for x in test)
    assert data.info.test_in_dev == sum(x in dev for x in test)
    share = data.info.dev_in_train / 12
    assert (
        f"{data.info.dev_in_train} of 12 dev examples ({share:.1%}) have the same inputs as a train example: the dev "
        "score may be partly memory"
    ) in data.info.notes


def test_copies_in_a_file_of_test_examples_are_counted(tmp_path: Path) -> None:
    text = "a,b,y\n" + "".join(f"{i},{i % 3},{'uv'[i % 2]}\n" for i in range(40))
    (tmp_path / "test.csv").write_text("a,b,y\n3,0,v\n5,2,u\n100,1,u\n")
    info = load_csv(tmp_path, text, test="test.csv").info
    assert info.num_test == 3
    assert info.test_in_train + info.test_in_dev == 2


def test_imbalanced_classes_are_named(tmp_path: Path) -> None:
    info = load_csv(tmp_path, "x,y\n" + rows(*["1,common"] * 9, "2,rare", times=10)).info
    assert (
        'classes are imbalanced: "common" has 54 training examples and "rare" 6; always answering the former is right '
        "in 90.0% of cases, so accuracy says little; see balanced_accuracy, f1, auroc, and training.class_weights: "
        "balanced"
    ) in info.notes


@pytest.mark.parametrize(
    ("majority", "metric", "said"),
    [
        (0.79, "auto", False),
        (0.81, "auto", True),
        (0.81, "accuracy", True),
        (0.81, "auroc", False),  # which no imbalance flatters
        (0.95, "balanced_accuracy", False),
    ],
)
def test_imbalance_is_named_where_it_makes_the_metric_say_little(
    majority: float, metric: str, said: bool, tmp_path: Path
) -> None:
    count = round(200 * majority)
    text = "x,y\n" + rows(*(f"{i}.5,{'u' if i < count else 'v'}" for i in range(200)), times=1)
    (tmp_path / "data.csv").write_text(text)
    spec = sweep(tmp_path, source="data.csv").model_copy(update={"objective": ObjectiveSpec(metric=metric)})
    assert any("imbalanced" in note for note in load_training_data(spec).info.notes) == said


def test_of_many_classes_those_are_named_that_an_accuracy_hardly_counts(tmp_path: Path) -> None:
    sizes = {"5": 680, "6": 640, "7": 200, "4": 60, "3": 10}  # as of wines: the largest class has 43 %
    lines = [f"{i}.5,q{name}" for name, size in sizes.items() for i in range(size)]
    notes = load_csv(tmp_path, "x,y\n" + rows(*lines, times=1)).info.notes
    assert [note for note in notes if "class" in note] == [
        'rare classes, with their training examples of 954: "q3" 6, "q4" 36; accuracy hardly counts them; '
        "balanced_accuracy and f1 count each class alike"
    ]


def test_balanced_complete_data_has_nothing_to_note(tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"{i / 8},{'uv'[i % 2]}\n" for i in range(60))
    assert load_csv(tmp_path, text).info.notes == ()


def test_a_file_of_dev_examples_makes_the_split_idle(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text("x,y\n0.3,u\n0.4,v\n")
    data = load_csv(tmp_path, "x,y\n" + rows("1,u", "2,v"), dev="dev.csv", split={"train": 0.8, "dev": 0.2})
    assert (data.info.num_train, data.info.num_dev) == (20, 2)
    assert data.info.dev_apart
    assert not load_csv(tmp_path, "x,y\n" + rows("1,u", "2,v")).info.dev_apart
    assert "split: has no effect, since the dev examples are given apart" in data.info.notes


def test_a_split_without_a_test_share_leaves_nothing_to_test(patients: Path) -> None:
    spec = sweep(patients, source="patients.csv", split={"train": 0.8, "dev": 0.2})
    assert load_training_data(spec).info.num_test == 0
    with pytest.raises(DataError, match=r"^there are no test examples; give data.test a file"):
        load_test_split(spec)


def test_regression_with_several_targets(tmp_path: Path) -> None:
    data = load(tmp_path, source="sklearn/linnerud")
    assert data.train.targets.shape == (12, 3)
    assert data.train.targets.dtype is torch.float32
    assert data.train.targets.mean(dim=0).abs().max() < 1e-6
    assert len(data.info.target_mean) == len(data.info.target_std) == 3
