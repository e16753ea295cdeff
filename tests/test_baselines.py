"""The simple models by themselves: same examples, same model; probabilities of all classes; bounded work."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tuner.baselines import Kind, _classifier, chosen_rows, fit, most_rows, suited
from tuner.spec.known.baselines import BASELINES, BaselineName

RNG = np.random.default_rng(0)
INPUTS: NDArray[np.float32] = RNG.normal(size=(80, 3)).astype(np.float32)
CLASSES = (INPUTS[:, 0] > 0).astype(np.int64) + (INPUTS[:, 0] > 1)
LABELS = np.stack([INPUTS[:, 0] > 0, INPUTS[:, 1] > 0, np.ones(80)], axis=1).astype(np.float32)
NUMBERS = np.stack([INPUTS[:, 0], INPUTS[:, 1] ** 2], axis=1)
OF_CLASSES = Kind(task="classification", num_features=3, num_outputs=3)
OF_LABELS = Kind(task="multi_label", num_features=3, num_outputs=3)
OF_NUMBERS = Kind(task="regression", num_features=3, num_outputs=2)


def test_the_guess_has_one_answer_for_all() -> None:
    shares = fit("guess", INPUTS, CLASSES, OF_CLASSES)(INPUTS)
    assert np.allclose(shares, np.bincount(CLASSES) / 80)
    assert np.allclose(fit("guess", INPUTS, NUMBERS, OF_NUMBERS)(INPUTS), NUMBERS.mean(axis=0), atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear", "boosting"])
def test_classes_labels_and_numbers_are_learnt(name: BaselineName) -> None:
    shares = fit(name, INPUTS, CLASSES, OF_CLASSES)(INPUTS)
    assert (shares.argmax(axis=1) == CLASSES).mean() > 0.8
    labels = fit(name, INPUTS, LABELS, OF_LABELS)(INPUTS)
    assert ((labels > 0.5) == LABELS).mean() > 0.9
    assert (labels[:, 2] > 0.99).all()  # one that all examples have
    numbers = fit(name, INPUTS, NUMBERS, OF_NUMBERS)(INPUTS)
    assert numbers.shape == (80, 2)
    assert np.abs(numbers[:, 0] - NUMBERS[:, 0]).mean() < 0.3


@pytest.mark.slow
def test_a_forest_learns_each_kind_and_is_the_same_each_time() -> None:
    for targets, kind in ((CLASSES, OF_CLASSES), (LABELS, OF_LABELS), (NUMBERS, OF_NUMBERS)):
        once, again = (fit("forest", INPUTS, targets, kind)(INPUTS) for _ in range(2))
        assert once.shape == (80, kind.num_outputs)
        assert np.array_equal(once, again)


@pytest.mark.slow  # as the first, it imports scikit-learn
def test_a_class_that_no_example_has_keeps_its_column() -> None:
    shares = fit("linear", INPUTS, CLASSES, Kind(task="classification", num_features=3, num_outputs=5))(INPUTS)
    assert shares.shape == (80, 5)
    assert (shares[:, 3:] < 1e-6).all()


@pytest.mark.parametrize(("num_features", "bins"), [(3, 255), (800, 255), (4000, 54), (20_000, 15)])
def test_boosting_has_fewer_bins_where_features_are_many(num_features: int, bins: int) -> None:
    model = _classifier("boosting", np.empty((2, num_features)))
    assert model.max_bins == bins


def test_no_probability_is_so_sure_that_its_logarithm_is_none() -> None:
    one_class = fit("linear", INPUTS, np.zeros(80, dtype=np.int64), OF_CLASSES)(INPUTS)
    assert np.isfinite(np.log(one_class)).all()


def test_images_are_flattened_and_get_no_trees() -> None:
    images = INPUTS[:75].reshape(25, 1, 3, 3)
    kind = Kind(task="classification", num_features=9, num_outputs=3, is_table=False)
    assert fit("guess", images, CLASSES[:25], kind)(images).shape == (25, 3)
    assert suited(kind, num_train=25) == ("guess", "linear")


def test_work_is_bounded_whatever_the_data() -> None:
    assert suited(OF_CLASSES, num_train=80) == BASELINES
    assert "forest" not in suited(OF_CLASSES, num_train=1_000_000)
    large = Kind(task="classification", num_features=1000, num_outputs=50)
    for name in BASELINES[1:]:
        assert most_rows(name, large) * large.num_features < 10**8
        assert most_rows(name, large, folds=5) <= most_rows(name, large)
    assert most_rows("boosting", large) * large.num_features * 21 < 2**28  # bytes, in all its copies
    rows = chosen_rows(1000, 10)
    assert len(rows) == 10
    assert (np.diff(rows) > 0).all()
    assert np.array_equal(rows, chosen_rows(1000, 10))
    assert len(chosen_rows(5, 10)) == 5
