from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from tests.data.helpers import examples, load, load_csv, rows
from tests.depth import at_depth
from tuner.data.preparation import fit_preparation
from tuner.errors import DataError

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=at_depth(40), deadline=None)


@few
@given(seed=seeds, num=st.integers(2, 60), features=st.integers(1, 5))
def test_inputs_get_the_training_parts_mean_and_variance(seed: int, num: int, features: int) -> None:
    random = np.random.default_rng(seed)
    train = random.normal(loc=random.normal(scale=100, size=features), scale=10, size=(num, features))
    dev = random.normal(size=(7, features))
    preparation = fit_preparation(examples(train, np.zeros(num)), normalise=True)
    scaler = StandardScaler().fit(train)
    for part in (train, dev):
        found = preparation.apply(examples(part, np.zeros(len(part)))).inputs.numpy()
        np.testing.assert_allclose(found, scaler.transform(part), rtol=1e-5, atol=1e-5)
        assert found.dtype == np.float32


@pytest.mark.slow
@few
@given(seed=seeds, shape=st.sampled_from([(3, 4, 5), (1, 6, 6), (2, 2, 2, 2)]), as_bytes=st.booleans())
def test_images_are_normalised_by_channel(seed: int, shape: tuple[int, ...], as_bytes: bool) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (20, *shape), dtype=np.uint8)
    pixels = images if as_bytes else images.astype(np.float64)
    found = fit_preparation(examples(pixels, np.zeros(20)), normalise=True).apply(examples(pixels, np.zeros(20)))
    for channel in range(shape[0]):
        values = found.inputs[:, channel].double()
        assert values.mean() == pytest.approx(0, abs=1e-6)
        assert values.std(correction=0) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("shape", [(3, 4, 5), (2, 2, 2, 2)])
@pytest.mark.parametrize("normalise", [True, False])
def test_bytes_of_images_become_what_their_numbers_become(shape: tuple[int, ...], normalise: bool) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, *shape), dtype=np.uint8)
    images[:, 0] = 7  # a constant channel
    found, expected = (
        fit_preparation(examples(x, np.zeros(20)), normalise=normalise).apply(examples(x, np.zeros(20))).inputs
        for x in (images, images / 255.0)
    )
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_sequences_are_normalised_by_feature() -> None:
    x = np.random.default_rng(0).normal(size=(30, 8, 2)) * [1.0, 50.0]
    found = fit_preparation(examples(x, np.zeros(30)), normalise=True).apply(examples(x, np.zeros(30))).inputs
    assert found.std(dim=(0, 1), correction=0).tolist() == pytest.approx([1.0, 1.0], rel=1e-5)


def test_quantiles_make_numbers_normal_whatever_their_shape() -> None:
    normal = np.random.default_rng(0).normal(size=2000)
    x = np.stack([normal, np.exp(4 * normal), (normal > 1).astype(float)], axis=1)
    x[7] = np.nan
    preparation = fit_preparation(examples(x, np.zeros(2000)), normalise="quantile")
    inputs = preparation.apply(examples(x, np.zeros(2000))).inputs.numpy()
    np.testing.assert_allclose(inputs[:, 0], inputs[:, 1], atol=0.2)  # ranks are the same; between knots it is straight
    np.testing.assert_allclose(np.sort(inputs[:, 0])[200:-200], np.sort(normal)[200:-200], atol=0.1)
    assert inputs[7].tolist() == [0, 0, 0, 1, 1, 1]
    assert inputs[:, :3].std(axis=0) == pytest.approx(1, rel=1e-3)
    assert len(np.unique(inputs[:, 2])) == 3
    unseen = preparation.apply(examples(np.array([[1e9, 1e9, 1.0], [-1e9, -1e9, 0.5]]), np.zeros(2))).inputs.numpy()
    np.testing.assert_allclose(unseen[0], [*inputs[:, :3].max(axis=0).tolist(), 0, 0, 0], atol=1e-6)
    assert inputs[:, 2].min() < unseen[1, 2] < inputs[:, 2].max()


def test_a_column_of_one_value_stays_0_among_quantiles() -> None:
    x = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    found = fit_preparation(examples(x, np.zeros(3)), normalise="quantile").apply(examples(x, np.zeros(3))).inputs
    assert found[:, 1].tolist() == [0, 0, 0]
    assert found[1, 0] == pytest.approx(0, abs=1e-6)


def test_quantiles_are_of_tables() -> None:
    with pytest.raises(DataError, match="normalise: quantile is for tables"):
        fit_preparation(examples(np.zeros((3, 1, 2, 2)), np.zeros(3)), normalise="quantile")


def test_without_normalising_numbers_stay_and_the_bytes_of_images_lie_between_0_and_1() -> None:
    x = np.array([[1.0, np.nan], [3.0, 8.0]])
    prepared = fit_preparation(examples(x, np.zeros(2)), normalise=False).apply(examples(x, np.zeros(2)))
    assert prepared.inputs.tolist() == [[1, 8, 1], [3, 8, 0]]
    images = np.array([0, 51, 255], dtype=np.uint8).reshape(3, 1, 1, 1)
    prepared = fit_preparation(examples(images, np.zeros(3)), normalise=False).apply(examples(images, np.zeros(3)))
    assert prepared.inputs.ravel().tolist() == pytest.approx([0, 0.2, 1])


@pytest.mark.slow
@few
@given(seed=seeds, value=st.floats(-1e30, 1e30))
def test_what_the_dev_part_holds_changes_nothing_in_training(seed: int, value: float, tmp_path_factory) -> None:
    root = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(seed)
    lines = [f"{a:.3f},{b},{y}" for a, b, y in zip(*random.normal(size=(1, 30)), "ab" * 15, "uv" * 15, strict=True)]
    (root / "train.csv").write_text("a,b,y\n" + "\n".join(lines))
    (root / "dev.csv").write_text("a,b,y\n0.5,a,u\n,b,v\n")
    before = load(root, source="train.csv", dev="dev.csv")
    (root / "dev.csv").write_text(f"a,b,y\n{value},never seen,v\n7,,u\n")
    after = load(root, source="train.csv", dev="dev.csv")
    assert before.train.inputs.equal(after.train.inputs)
    assert before.train.targets.equal(after.train.targets)
    assert before.info.feature_names == after.info.feature_names


def test_regression_targets_are_standardised_and_can_be_brought_back(tmp_path: Path) -> None:
    text = "x,y\n" + "".join(f"{i},{1000 + 3 * i}\n" for i in range(100))
    data = load_csv(tmp_path, text, target="y", task="regression")
    assert data.train.targets.mean().item() == pytest.approx(0, abs=1e-6)
    assert data.train.targets.std(correction=0).item() == pytest.approx(1, rel=1e-6)
    for split in (data.train, data.dev):
        x = split.inputs[:, 0].double() * np.std(_x(data)) + np.mean(_x(data))
        y = split.targets[:, 0].double() * data.info.target_std[0] + data.info.target_mean[0]
        np.testing.assert_allclose(y, 1000 + 3 * x, rtol=1e-5)


def _x(data) -> np.ndarray:
    """The training inputs in their own units, from the targets: y = 1000 + 3 x."""
    return (data.train.targets[:, 0].double().numpy() * data.info.target_std[0] + data.info.target_mean[0] - 1000) / 3


def test_a_column_that_never_changes_in_training_becomes_zero_everywhere(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text("a,b,y\n1,7,u\n2,1e9,v\n")
    data = load_csv(tmp_path, "a,b,y\n" + rows("1,7,u", "2,7,v"), dev="dev.csv")
    assert data.train.inputs[:, 1].abs().max() == 0
    assert data.dev.inputs[:, 1].abs().max() == 0
    assert "columns with one value in all training examples are set to 0: b" in data.info.notes


def test_one_of_several_targets_that_never_changes_is_left_at_scale_one(tmp_path: Path) -> None:
    text = "x,y,z\n" + "".join(f"{i},2.5,{i * i}\n" for i in range(20))
    data = load_csv(tmp_path, text, target=["y", "z"], task="regression")
    assert data.info.target_std[0] == 1.0
    assert data.train.targets[:, 0].abs().max() == 0
    assert "the target y is the same in all training examples" in data.info.notes


@pytest.mark.parametrize(
    ("text", "task", "message"),
    [
        ("x,y\n" + "".join(f"{i},2.5\n" for i in range(20)), "regression", "the target y is the same in all training"),
        ("x,z,y\n" + "".join(f"4,a,{i % 2}\n" for i in range(20)), "auto", "every input is the same in all training"),
    ],
)
def test_data_of_which_nothing_can_be_learnt_are_refused(tmp_path: Path, text: str, task: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_csv(tmp_path, text, task=task)


def test_labels_beyond_float64_stay_apart_and_amounts_are_refused(tmp_path: Path) -> None:
    label = 2**62
    data = load_csv(tmp_path, "x,y\n" + "".join(f"{i},{label + i % 2}\n" for i in range(40)))
    assert data.info.class_names == (str(label), str(label + 1))
    with pytest.raises(DataError, match="beyond 2\\*\\*53 that a float64 does not tell apart"):
        load_csv(tmp_path, "x,y\n" + "".join(f"{i},{label + i}\n" for i in range(40)))


def test_missing_numbers_become_the_mean_and_are_marked(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text("a,b,y\n,1,u\n2,,v\n")
    data = load_csv(tmp_path, "a,b,y\n" + rows("1,5,u", "3,6,v", ",7,u"), dev="dev.csv")
    assert data.info.feature_names == ("a", "b", "a missing")
    a_missing, b_missing = sorted(data.dev.inputs.tolist(), key=lambda example: -example[2])
    assert (a_missing[0], a_missing[2]) == (0, 1)
    assert (b_missing[1], b_missing[2]) == (0, 0), "b has no column that marks it: it is never missing in training"
    assert data.train.inputs[:, 2].sum() == 10
    assert (
        "12 missing values of train and dev: numbers are filled with the training mean, categories stay blank, and a "
        "column of its own marks them (a 11, b 1)"
    ) in data.info.notes


def test_categories_are_those_of_the_training_part(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text("size,y\nlarge,u\nhuge,v\n,u\n")
    data = load_csv(tmp_path, "size,y\n" + rows("small,u", "large,v", ",u"), dev="dev.csv")
    assert data.info.feature_names == ("size=large", "size=small", "size missing")
    assert sorted(data.dev.inputs.tolist()) == [[0, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert (
        "column size: 1 of 3 dev examples hold a text that no training example has; it is left blank" in data.info.notes
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "name,y\n" + "".join(f"person {i},{'uv'[i % 2]}\n" for i in range(300)),
            "column name holds 180 distinct texts, more than the 100 that are encoded one by one; turn it into numbers "
            "or fewer categories, or add ignore: [name]",
        ),
        (
            "a,y\n" + rows("1,1e300", "2,-1e300"),
            "data.csv, row 1: the target y is 1e+300, which is too large to compute with; correct it, or scale it",
        ),
        (
            "a,b,y\n" + rows("1,1e200,u", "2,-1e200,v"),
            "data.csv, row 1: column b is 1e+200, which is too large to compute with; correct it, or scale it",
        ),
    ],
)
def test_what_cannot_be_prepared_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_csv(tmp_path, text)
    assert str(error.value) == message


def test_a_number_beyond_32_bits_is_refused_where_it_is_not_scaled(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^column b holds numbers that are too large to compute with; scale it down$"):
        load_csv(tmp_path, "a,b,y\n" + rows("1,1e100,u", "2,2,v"), normalise=False)
