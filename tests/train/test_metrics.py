from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tests.depth import at_depth
from tests.pretend_cuda import HAS_GPU, MACHINE
from tuner.errors import SweepFileError
from tuner.records import Direction
from tuner.spec.known.metrics import METRICS, Metric, MetricName
from tuner.spec.model import ObjectiveSpec, TrainingSpec
from tuner.train.measure import device_scoring
from tuner.train.measure.metrics import Evaluation, Loss, resolve_loss, resolve_metric

CLASSIFICATION = [name for name, metric in METRICS.items() if "classification" in metric.tasks]
LABELS = [name for name, metric in METRICS.items() if "multi_label" in metric.tasks]
REGRESSION = [name for name, metric in METRICS.items() if "regression" in metric.tasks]

seeds = st.integers(0, 2**32 - 1)
num_trials = st.integers(1, 9)
num_examples = st.integers(1, 70)
few = settings(max_examples=at_depth(30), deadline=None)


def classification_case(
    seed: int, trials: int, examples: int, classes: int, *, rounded: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Random logits (trials, examples, classes) and classes; rounded logits have many ties."""
    random = np.random.default_rng(seed)
    logits = random.normal(scale=3.0, size=(trials, examples, classes)).astype(np.float32)
    if rounded:
        logits = logits.round()
    return torch.from_numpy(logits), torch.from_numpy(random.integers(0, classes, examples))


def regression_case(seed: int, trials: int, examples: int, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    targets = random.normal(size=(examples, outputs)).astype(np.float32)
    predictions = targets + random.normal(size=(trials, examples, outputs)).astype(np.float32)
    return torch.from_numpy(predictions), torch.from_numpy(targets)


def score_classes(logits: torch.Tensor, targets: torch.Tensor, metric: str) -> np.ndarray:
    return Evaluation(targets, loss="cross_entropy", metric=METRICS[metric])(logits).metric


def score_numbers(predictions: torch.Tensor, targets: torch.Tensor, metric: str) -> np.ndarray:
    std = [2.0 + t for t in range(targets.shape[1])]
    evaluation = Evaluation(targets, loss="mse", metric=METRICS[metric], target_std=std, target_mean=[0.5] * len(std))
    return evaluation(predictions).metric


@pytest.mark.slow
@few
@given(seed=seeds, trials=num_trials, examples=num_examples, classes=st.integers(2, 12), rounded=st.booleans())
def test_class_metrics_agree_with_scikit_learn(
    seed: int, trials: int, examples: int, classes: int, rounded: bool
) -> None:
    logits, targets = classification_case(seed, trials, examples, classes, rounded=rounded)
    y = targets.numpy()
    for k, predicted in enumerate(logits.numpy().argmax(axis=-1)):
        recalls = [np.mean(predicted[y == c] == c) for c in np.unique(y)]
        average = "binary" if classes == 2 else "macro"
        expected = {
            "accuracy": sk.accuracy_score(y, predicted),
            "balanced_accuracy": np.mean(recalls),
            "f1": sk.f1_score(y, predicted, average=average, zero_division=0.0),
            "precision": sk.precision_score(y, predicted, average=average, zero_division=0.0),
            "recall": sk.recall_score(y, predicted, average=average, zero_division=0.0),
            "loss": torch.nn.functional.cross_entropy(logits[k].double(), targets).item(),
        }
        for name, value in expected.items():
            assert score_classes(logits, targets, name)[k] == pytest.approx(value, rel=1e-5, abs=5e-7), name


@pytest.mark.parametrize(("classes", "rounded"), [(2, False), (2, True), (7, False)])
def test_what_ranks_and_weighs_probabilities_agrees_with_scikit_learn(classes: int, rounded: bool) -> None:
    logits, targets = classification_case(5, 3, 120, classes, rounded=rounded)
    y, one_hot = targets.numpy(), np.eye(classes)[targets.numpy()]
    for k, shares in enumerate(logits.double().softmax(dim=-1).numpy()):
        each = one_hot[:, 1:] if classes == 2 else one_hot
        expected = {
            "average_precision": sk.average_precision_score(each, shares[:, 1:] if classes == 2 else shares),
            "brier": ((shares - one_hot) ** 2).sum(axis=1).mean() / (2 if classes == 2 else 1),
            "quadratic_kappa": sk.cohen_kappa_score(y, shares.argmax(axis=1), weights="quadratic"),
            "top5_accuracy": sk.top_k_accuracy_score(y, shares, k=5, labels=range(classes)) if classes > 5 else 1.0,
        }
        for name, value in expected.items():
            assert score_classes(logits, targets, name)[k] == pytest.approx(value, rel=1e-6), name


def test_balanced_accuracy_agrees_with_scikit_learn() -> None:
    logits, targets = classification_case(3, 4, 200, 5)
    expected = [sk.balanced_accuracy_score(targets, p) for p in logits.argmax(dim=-1)]
    assert score_classes(logits, targets, "balanced_accuracy") == pytest.approx(expected)


@pytest.mark.slow
@few
@given(seed=seeds, trials=num_trials, examples=st.integers(12, 80), rounded=st.booleans())
def test_binary_auroc_agrees_with_scikit_learn(seed: int, trials: int, examples: int, rounded: bool) -> None:
    logits, targets = classification_case(seed, trials, examples, 2, rounded=rounded)
    targets[:2] = torch.tensor([0, 1])
    expected = [sk.roc_auc_score(targets, z[:, 1] - z[:, 0]) for z in logits.numpy()]
    assert score_classes(logits, targets, "auroc") == pytest.approx(expected, rel=1e-12)


@pytest.mark.slow
@few
@given(seed=seeds, trials=num_trials, examples=st.integers(12, 80), classes=st.integers(3, 6))
def test_auroc_of_many_classes_agrees_with_scikit_learn(seed: int, trials: int, examples: int, classes: int) -> None:
    logits, targets = classification_case(seed, trials, examples, classes)
    targets[:classes] = torch.arange(classes)
    probabilities = logits.double().softmax(dim=-1).numpy()
    expected = [sk.roc_auc_score(targets, p, multi_class="ovr", average="macro") for p in probabilities]
    assert score_classes(logits, targets, "auroc") == pytest.approx(expected, rel=1e-9)


def test_auroc_leaves_out_classes_without_a_curve() -> None:
    logits, _ = classification_case(0, 1, 40, 3)
    targets = torch.arange(40) % 2
    p = logits[0].double().softmax(dim=-1).numpy()
    expected = np.mean([sk.roc_auc_score(targets == c, p[:, c]) for c in (0, 1)])
    assert score_classes(logits, targets, "auroc")[0] == pytest.approx(expected)
    assert np.isnan(score_classes(logits, torch.zeros(40, dtype=torch.int64), "auroc")).all()


@few
@given(seed=seeds, trials=num_trials, examples=st.integers(2, 70), outputs=st.integers(1, 4))
def test_regression_metrics_agree_with_scikit_learn(seed: int, trials: int, examples: int, outputs: int) -> None:
    predictions, targets = regression_case(seed, trials, examples, outputs)
    y = targets.double().numpy()
    std = np.array([2.0 + t for t in range(outputs)])
    for k, p in enumerate(predictions.double().numpy()):
        expected = {
            "rmse": sk.root_mean_squared_error(y * std, p * std),
            "mae": sk.mean_absolute_error(y * std, p * std),
            "r2": sk.r2_score(y * std, p * std),
            "loss": sk.mean_squared_error(y, p),
        }
        for name, value in expected.items():
            assert score_numbers(predictions, targets, name)[k] == pytest.approx(value, rel=1e-9), name


def test_r_squared_of_a_constant_target_follows_scikit_learn() -> None:
    targets = torch.ones(5, 2)
    predictions = torch.stack([torch.ones(5, 2), torch.zeros(5, 2)])
    assert score_numbers(predictions, targets, "r2").tolist() == [1.0, 0.0]
    assert np.isnan(score_numbers(predictions[:, :1], targets[:1], "r2")).all()


@pytest.mark.slow
@pytest.mark.parametrize("metric", CLASSIFICATION)
@few
@given(
    seed=seeds,
    trials=st.integers(2, 40),
    examples=st.one_of(num_examples, st.integers(71, 3000)),
    classes=st.integers(2, 27),
    row=st.integers(0, 39),
)
def test_a_trial_scores_the_same_alone_and_in_any_cohort(
    metric: str, seed: int, trials: int, examples: int, classes: int, row: int
) -> None:
    logits, targets = classification_case(seed, trials, examples, classes)
    row %= trials
    evaluation = Evaluation(targets, loss="cross_entropy", metric=METRICS[metric])
    together, alone, tail = evaluation(logits), evaluation(logits[row : row + 1]), evaluation(logits[row:])
    for part, k in ((alone, 0), (tail, 0)):
        assert part.loss[k] == together.loss[row]
        np.testing.assert_array_equal(part.metric[k], together.metric[row])


@pytest.mark.parametrize("metric", REGRESSION)
@few
@given(seed=seeds, trials=st.integers(2, 40), examples=st.integers(1, 3000), outputs=st.integers(1, 5))
def test_a_regression_trial_scores_the_same_alone_and_in_any_cohort(
    metric: str, seed: int, trials: int, examples: int, outputs: int
) -> None:
    predictions, targets = regression_case(seed, trials, examples, outputs)
    evaluation = Evaluation(
        targets, loss="mse", metric=METRICS[metric], target_std=[3.0] * outputs, target_mean=[0.5] * outputs
    )
    together = evaluation(predictions)
    for k in {0, trials // 2, trials - 1}:
        alone = evaluation(predictions[k : k + 1])
        assert alone.loss[0] == together.loss[k]
        np.testing.assert_array_equal(alone.metric[0], together.metric[k])


def test_a_percentage_error_is_scikit_learns_and_leaves_zeros_out() -> None:
    random = np.random.default_rng(3)
    truth = random.normal(40.0, 15.0, size=(200, 2))
    truth[:20, 0] = 0.0
    mean, std = truth.mean(axis=0), truth.std(axis=0)
    said = truth + random.normal(size=truth.shape)
    evaluation = Evaluation(
        torch.from_numpy(((truth - mean) / std).astype(np.float32)),
        loss="mse", metric=METRICS["mape"], target_std=std.tolist(), target_mean=mean.tolist(),
    )  # fmt: skip
    found = evaluation(torch.from_numpy(((said - mean) / std).astype(np.float32)).unsqueeze(0)).metric[0]
    expected = [
        sk.mean_absolute_percentage_error(truth[known, t], said[known, t])
        for t, known in enumerate((truth != 0).T)
    ]  # fmt: skip
    assert found == pytest.approx(np.mean(expected), rel=1e-4)


def test_targets_that_are_all_zero_have_no_percentage_error() -> None:
    nothing = torch.full((5, 1), -1.0)
    evaluation = Evaluation(nothing, loss="mse", metric=METRICS["mape"], target_std=[2.0], target_mean=[2.0])
    assert np.isnan(evaluation(torch.zeros(1, 5, 1)).metric[0])


@pytest.mark.parametrize("metric", CLASSIFICATION)
def test_outputs_that_are_no_numbers_score_nan_and_spare_the_neighbours(metric: str) -> None:
    logits, targets = classification_case(1, 4, 30, 3)
    expected = score_classes(logits, targets, metric)
    logits[1, 7, 2] = float("nan")
    logits[3, 2, 0] = float("inf")
    scores = score_classes(logits, targets, metric)
    assert np.isnan(scores[[1, 3]]).all()
    assert (scores[[0, 2]] == expected[[0, 2]]).all()


def test_a_network_that_answers_alike_for_all_classes_is_credited_with_the_first_class_only() -> None:
    targets = torch.tensor([0, 1, 2, 3])
    assert score_classes(torch.zeros(2, 4, 4), targets, "accuracy").tolist() == [0.25, 0.25]


def test_outputs_may_be_strided_or_half_precision() -> None:
    logits, targets = classification_case(5, 3, 50, 4)
    strided = logits.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not strided.is_contiguous()
    evaluation = Evaluation(targets, loss="cross_entropy", metric=METRICS["accuracy"])
    np.testing.assert_array_equal(evaluation(strided), evaluation(logits))
    np.testing.assert_allclose(evaluation(logits.bfloat16()).loss, evaluation(logits).loss, rtol=0.02)


def case_of(metric: Metric, task: str, *, ties: bool) -> tuple[torch.Tensor, Evaluation]:
    """Outputs of eight trials, two of which are no numbers; with `ties` many of them are equal."""
    if task == "classification":
        outputs, targets = classification_case(2, 8, 500, 2 if ties and metric.name == "f1" else 5)
        loss: Loss = "cross_entropy"
    else:
        outputs, targets = regression_case(2, 8, 500, 3)
        loss = "mse" if task == "regression" else "binary_cross_entropy"
        targets = targets if task == "regression" else (targets > 0).float()
    if ties:
        outputs = outputs.round()
    outputs[3, 4, 1] = float("nan")
    outputs[5, 2, 0] = float("inf")
    return outputs, Evaluation(
        targets, loss=loss, metric=metric, target_std=[1.0, 2.0, 3.0], target_mean=[0.5, 1.0, 2.0]
    )


@pytest.mark.gpu
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("name", "task"), [(m.name, task) for m in METRICS.values() for task in m.tasks])
def test_scores_on_a_gpu_equal_those_on_the_cpu(name: str, task: str, ties: bool, gpu: str) -> None:
    outputs, evaluation = case_of(METRICS[name], task, ties=ties)
    there = outputs.to(gpu)
    evaluation(there)  # which brings the targets
    MACHINE.counts.clear()
    found = evaluation(there)
    # Whether logits in another order give the same share, and so tie, is a matter of the last digit.
    rounds = ties and (name, task) == ("auroc", "classification")
    np.testing.assert_allclose(found, evaluation(outputs), rtol=1e-5 if rounds else 1e-6)
    if not HAS_GPU:
        assert sum(n for why, n in MACHINE.waits.items() if why != "copy to the device") == 1
        assert MACHINE.waits["copy to the host"] == 1


@pytest.mark.gpu
def test_a_metric_that_no_function_measures_on_a_gpu_is_measured_on_the_host(
    gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, evaluation = case_of(METRICS["f1"], "classification", ties=False)
    monkeypatch.delitem(device_scoring._OF_OTHERS, "f1")
    np.testing.assert_array_equal(evaluation(outputs.to(gpu)), evaluation(outputs))


@pytest.mark.gpu
@pytest.mark.parametrize("num_classes", [2, 3])
def test_ranks_on_a_gpu_are_exact(num_classes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ties, classes of no example, and portions smaller than all trials."""
    monkeypatch.setattr("tuner.train.measure.device_scoring.BLOCK_ELEMENTS", 1000)
    draw = torch.Generator().manual_seed(3)
    outputs = torch.randint(0, 6, (7, 200, num_classes), generator=draw).float()
    targets = torch.randint(0, min(num_classes, 2), (200,), generator=draw)
    evaluation = Evaluation(targets, loss="cross_entropy", metric=METRICS["auroc"])
    found, expected = evaluation(outputs.cuda()).metric, evaluation(outputs).metric
    if num_classes == 2:
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_auto_resolves_by_the_task() -> None:
    assert resolve_metric(ObjectiveSpec(), task="classification").name == "accuracy"
    assert resolve_metric(ObjectiveSpec(), task="regression").name == "rmse"
    assert resolve_metric(ObjectiveSpec(metric="loss"), task="regression").direction is Direction.MINIMIZE
    assert resolve_loss(TrainingSpec(), task="classification") == "cross_entropy"
    assert resolve_loss(TrainingSpec(loss="mse"), task="regression") == "mse"


def test_a_metric_or_loss_of_the_other_task_is_refused() -> None:
    with pytest.raises(SweepFileError, match=r"^objective.metric: f1 cannot be measured for regression.*rmse, mae"):
        resolve_metric(ObjectiveSpec(metric="f1"), task="regression")
    with pytest.raises(SweepFileError, match=r"^training.loss: mse does not fit classification.*use cross_entropy$"):
        resolve_loss(TrainingSpec(loss="mse"), task="classification")


def test_every_metric_of_the_sweep_file_is_in_the_table() -> None:
    assert set(get_args(MetricName)) == set(METRICS)


@pytest.mark.parametrize("name", list(METRICS))
def test_a_perfect_network_has_no_error(name: str) -> None:
    if name in CLASSIFICATION:
        targets = torch.arange(12) % 3
        outputs = 1e3 * torch.nn.functional.one_hot(targets).float()[None]
        value = score_classes(outputs, targets, name)[0]
    elif name in LABELS:
        labels = (torch.arange(24).view(12, 2) % 3 == 0).float()
        value = score_labels(200.0 * labels[None] - 100.0, labels, name)[0]
    else:
        targets = torch.randn(12, 2)
        value = score_numbers(targets[None], targets, name)[0]
    assert METRICS[name].error_of(value) == pytest.approx(0.0, abs=1e-12)


def label_case(seed: int, trials: int, examples: int, labels: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(seed)
    logits = random.normal(scale=3.0, size=(trials, examples, labels)).astype(np.float32)
    return torch.from_numpy(logits), torch.from_numpy((random.random((examples, labels)) < 0.4).astype(np.float32))


def score_labels(logits: torch.Tensor, targets: torch.Tensor, metric: str) -> np.ndarray:
    return Evaluation(targets, loss="binary_cross_entropy", metric=METRICS[metric])(logits).metric


@pytest.mark.slow
@few
@given(seed=seeds, trials=num_trials, examples=num_examples, labels=st.integers(1, 6))
def test_label_metrics_agree_with_scikit_learn(seed: int, trials: int, examples: int, labels: int) -> None:
    logits, targets = label_case(seed, trials, examples, labels)
    y = targets.numpy().astype(int)
    for k, z in enumerate(logits.numpy()):
        given_ = (z > 0).astype(int)
        occurs = [c for c in range(labels) if y[:, c].any() or given_[:, c].any()]
        curved = [c for c in range(labels) if 0 < y[:, c].sum() < examples]
        each = [sk.f1_score(y[:, c], given_[:, c], zero_division=0) for c in occurs]
        expected = {
            "f1": np.mean(each) if each else 0.0,
            "micro_f1": sk.f1_score(y.ravel(), given_.ravel(), zero_division=0),
            "subset_accuracy": (given_ == y).all(axis=1).mean(),
            "auroc": np.mean([sk.roc_auc_score(y[:, c], z[:, c]) for c in curved]) if curved else np.nan,
            "loss": torch.nn.functional.binary_cross_entropy_with_logits(logits[k].double(), targets.double()).item(),
        }
        for metric, value in expected.items():
            assert score_labels(logits, targets, metric)[k] == pytest.approx(value, abs=1e-9, nan_ok=True), metric


@pytest.mark.parametrize("metric", LABELS)
def test_a_trials_label_scores_do_not_depend_on_its_neighbours(metric: str) -> None:
    logits, targets = label_case(1, 5, 40, 3)
    together = score_labels(logits, targets, metric)
    assert [score_labels(logits[k : k + 1], targets, metric)[0] for k in range(5)] == together.tolist()
    logits[2, 3, 1] = float("nan")
    assert np.isnan(score_labels(logits, targets, metric)).tolist() == [False, False, True, False, False]
