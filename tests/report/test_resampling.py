from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics

from tuner.report.certainty.resampling import (
    bootstrap_interval,
    resample_weights,
    resampled_metric,
)
from tuner.report.certainty.weighted import _EACH, _EACH_OF_LABELS, _WEIGHTED, _WEIGHTED_OF_LABELS
from tuner.train.measure import multi_label, scoring

Drawn = tuple[NDArray[np.float64], NDArray[np.generic]]


def classes(rng: np.random.Generator, count: int, num_classes: int = 2) -> Drawn:
    """Probabilities that know something of the classes."""
    targets = rng.choice(num_classes, size=count, p=np.r_[0.3, np.full(num_classes - 1, 0.7 / (num_classes - 1))])
    logits = rng.standard_normal((count, num_classes))
    logits[np.arange(count), targets] += 1.5
    shares = np.exp(logits)
    return shares / shares.sum(axis=1, keepdims=True), targets


def numbers(rng: np.random.Generator, count: int) -> Drawn:
    targets = rng.standard_normal((count, 1))
    return targets + 0.5 * rng.standard_normal((count, 1)), targets


def whole(metric: str, drawn: Drawn) -> float:
    return float(resampled_metric(metric, *drawn, np.ones((1, len(drawn[1]))))[0])


@pytest.mark.parametrize("num_classes", [2, 5])
def test_metrics_agree_with_scikit_learn(num_classes: int) -> None:
    drawn = shares, targets = classes(np.random.default_rng(0), 300, num_classes)
    said = shares.argmax(axis=1)
    average = "binary" if num_classes == 2 else "macro"
    expected = {
        "accuracy": metrics.accuracy_score(targets, said),
        "balanced_accuracy": metrics.balanced_accuracy_score(targets, said),
        "f1": metrics.f1_score(targets, said, average=average),
        "auroc": metrics.roc_auc_score(targets, shares[:, 1] if num_classes == 2 else shares, multi_class="ovr"),
        "loss": metrics.log_loss(targets, shares),
    }
    assert {name: whole(name, drawn) for name in expected} == pytest.approx(expected)


def test_regression_metrics_agree_with_scikit_learn() -> None:
    drawn = predicted, targets = numbers(np.random.default_rng(0), 200)
    assert whole("rmse", drawn) == pytest.approx(metrics.root_mean_squared_error(targets, predicted))
    assert whole("r2", drawn) == pytest.approx(metrics.r2_score(targets, predicted))
    assert whole("loss", drawn) == pytest.approx(metrics.mean_squared_error(targets, predicted))


def test_weights_count_examples_twice() -> None:
    shares, targets = classes(np.random.default_rng(1), 50)
    twice = np.r_[np.arange(50), np.arange(10)]
    weights = np.r_[np.full(10, 2.0), np.ones(40)][None]
    for name in ("accuracy", "balanced_accuracy", "f1", "auroc", "loss"):
        assert resampled_metric(name, shares, targets, weights)[0] == pytest.approx(
            whole(name, (shares[twice], targets[twice]))
        )


def test_a_resample_without_one_of_the_classes_is_no_error() -> None:
    shares, targets = classes(np.random.default_rng(2), 6)
    weights = np.array([[6.0 * (t == targets[0]) for t in targets]])
    for name in (*_WEIGHTED, *_EACH):
        assert resampled_metric(name, shares, targets, weights).shape == (1,) or name in ("rmse", "r2")


def labels(rng: np.random.Generator, count: int) -> Drawn:
    truth = (rng.random((count, 3)) < 0.4).astype(np.uint8)
    return np.clip(0.3 * truth + rng.random((count, 3)) * 0.7, 0, 1), truth


@pytest.mark.parametrize(
    ("metric", "draw"),
    [
        *((name, numbers if name == "r2" else classes) for name in scoring.METRICS),
        *((name, numbers) for name in (*scoring.METRICS_IN_UNITS, *scoring.METRICS_OF_VALUES)),
        *((name, labels) for name in multi_label.METRICS),
    ],
)
def test_a_metric_that_is_not_weighted_here_is_resampled_as_training_measures_it(
    metric: str, draw: Callable[[np.random.Generator, int], Drawn], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, weights = draw(np.random.default_rng(6), 60), resample_weights(60, resamples=5)
    weighted = resampled_metric(metric, *drawn, weights)
    for table in (_WEIGHTED_OF_LABELS, _EACH_OF_LABELS) if draw is labels else (_WEIGHTED, _EACH):
        monkeypatch.delitem(table, metric, raising=False)
    assert resampled_metric(metric, *drawn, weights) == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize(("metric", "perfect"), [("r2", 1.0), ("rmse", 0.0)])
def test_a_resample_without_an_error_does_not_blow_up_the_interval(metric: str, perfect: float) -> None:
    value = abs(perfect - 0.1)
    samples = np.r_[np.full(50, abs(perfect - 0.05)), np.full(48, abs(perfect - 0.15)), perfect, perfect]
    interval = bootstrap_interval(metric, value, samples, 60)
    assert interval.high - interval.low < 0.25


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "draw"),
    [*((m, numbers) for m in ("rmse", "r2", "loss")), *((m, classes) for m in ("balanced_accuracy", "f1"))],
)
def test_intervals_cover_the_truth_in_95_percent_of_dev_sets(
    metric: str, draw: Callable[[np.random.Generator, int], Drawn]
) -> None:
    rng = np.random.default_rng(4)
    truth = whole(metric, draw(rng, 300_000))
    weights = resample_weights(360, resamples=200)
    covered = []
    for _ in range(1000):
        samples = resampled_metric(metric, *draw(rng, 360), weights)
        covered.append(truth in bootstrap_interval(metric, float(samples[0]), samples[1:], 360))
    assert 0.93 <= np.mean(covered) <= 0.97


def test_label_metrics_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(5)
    shares, truth = labels(rng, 60)
    said = shares > 0.5
    expected = {
        "f1": metrics.f1_score(truth, said, average="macro"),
        "micro_f1": metrics.f1_score(truth, said, average="micro"),
        "auroc": metrics.roc_auc_score(truth, shares, average="macro"),
        "subset_accuracy": metrics.accuracy_score(truth, said),
        "loss": np.mean([metrics.log_loss(truth[:, c], shares[:, c]) for c in range(3)]),
    }
    weights = resample_weights(60, resamples=5)
    for name, value in expected.items():
        samples = resampled_metric(name, shares, truth, weights)
        assert samples[0] == pytest.approx(value), name
        drawn = np.repeat(np.arange(60), weights[3].astype(int))
        again = resampled_metric(name, shares[drawn], truth[drawn], np.ones((1, 60)))
        assert samples[3] == pytest.approx(again[0]), name


def test_the_first_resample_is_the_dev_set_and_each_draws_as_many_examples() -> None:
    weights = resample_weights(60, resamples=5)
    assert weights.shape == (5, 60)
    assert set(weights[0]) == {1.0}
    assert weights.sum(axis=1).tolist() == [60.0] * 5
    assert len({tuple(row) for row in weights}) == 5


def test_errors_of_several_outputs_count_all_of_them() -> None:
    targets = np.random.default_rng(0).standard_normal((60, 2))
    predictions = targets + np.array([0.0, 2.0])
    assert resampled_metric("rmse", predictions, targets, np.ones((1, 60)))[0] == pytest.approx(2**0.5)


def test_the_interval_of_r2_is_that_of_the_share_which_it_leaves_unexplained() -> None:
    left = 0.3 + 0.02 * np.random.default_rng(0).standard_normal(200)
    of_left, of_r2 = (
        bootstrap_interval(name, v, s, 100) for name, v, s in (("rmse", 0.3, left), ("r2", 0.7, 1 - left))
    )
    assert 0.7 in of_r2
    assert (of_r2.low, of_r2.high) == pytest.approx((1 - of_left.high, 1 - of_left.low))


def test_the_rows_of_an_example_are_drawn_together() -> None:
    draw = np.random.default_rng(0)
    examples = np.concatenate([draw.permutation(60) + 5 for _ in range(3)])
    weights = resample_weights(180, resamples=300, examples=examples)
    assert (weights.sum(axis=1) == 180).all()
    assert all(np.ptp(weights[:, examples == one], axis=1).max() == 0 for one in range(5, 65))
    right = draw.random(60) < 0.7
    said = np.eye(2)[np.where(right[examples - 5], 1, 0)]
    often = resampled_metric("accuracy", said, np.ones(180, dtype=np.int64), weights)
    once = resampled_metric(
        "accuracy", np.eye(2)[right.astype(int)], np.ones(60, dtype=np.int64), resample_weights(60, resamples=300)
    )
    assert np.allclose(often, once)  # three predictions that are alike tell no more than one
