"""Cross-validation: a trial is the networks of its folds, whoever its neighbours are and however often it paused."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.cohorts import curves, diabetes, digits, figures, jobs, make_task, run_cohort
from tests.train.test_exactness import TWO_LAYERS, per_trial
from tuner.data.dataset import Fold, Split, TrainingData
from tuner.models.ensemble import FoldEnsemble, parted_weights
from tuner.records import TrialFinished
from tuner.train.programs.folded import fold_orders

FOLDS = 3


@lru_cache(maxsize=2)
def folded(kind: str = "digits") -> TrainingData:
    """A pool that three does not divide."""
    data = digits() if kind == "digits" else diabetes()
    pool = Split(data.train.inputs[:200], data.train.targets[:200])
    of_each = torch.arange(200) % FOLDS
    folds = tuple(Fold(*(torch.nonzero(mask).flatten() for mask in (of_each != f, of_each == f))) for f in range(FOLDS))
    order = torch.cat([fold.dev for fold in folds])
    info = replace(data.info, num_train=133, num_dev=200, folds=FOLDS)
    return TrainingData(pool, Split(pool.inputs[order], pool.targets[order]), info, folds)


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        {"batch_size": 41},
        {"data": folded("diabetes")},
        {"settings": {"norm": "batch"}, "mixup": 0.2},
        {"model": TWO_LAYERS},
        {"fuse": "off"},
    ],
)
def test_a_folded_trial_alone_in_a_cohort_and_resumed_gives_the_same_bits(
    spec: dict[str, object], tmp_path: Path
) -> None:
    task = make_task(**{"data": folded(), **spec})  # type: ignore[arg-type]
    configurations = per_trial(4)
    together = curves(run_cohort(task, jobs(tmp_path / "together", configurations)))
    alone = jobs(tmp_path / "alone", configurations)
    assert figures(curves(run_cohort(task, [alone[2]]))[2]) == figures(together[2])
    run_cohort(task, jobs(tmp_path / "resumed", configurations, to_epoch=1))
    going_on = [jobs(tmp_path / "resumed", configurations)[k] for k in (3, 1)]
    resumed = curves(run_cohort(task, going_on))
    for trial in (1, 3):
        assert figures(resumed[trial]) == figures(together[trial])


def test_a_trial_is_scored_by_the_mean_of_networks_on_examples_that_they_never_saw(tmp_path: Path) -> None:
    task = make_task(folded(), epochs=2)
    (job,) = jobs(tmp_path, [{"learning_rate": 0.05}], to_epoch=2)
    events = run_cohort(task, [job])
    (finished,) = [event for event in events if isinstance(event, TrialFinished)]
    scores = finished.facts["fold_scores"]
    best = max(result.dev_metric for result in curves(events)[0])
    assert len(set(scores)) > 1
    assert best == pytest.approx(np.mean(scores))
    # Again from the weights on disk, one network and its own dev examples at a time.
    weights = parted_weights(torch.load(Path(job.folder) / "weights.pt", weights_only=True), folds=FOLDS)
    predictions = np.load(Path(job.folder) / "predictions.npy")
    start = 0
    for own, member, fold, score in zip(weights, task.member(job).folds, task.folds, scores, strict=True):
        module = member.make_module().eval()
        module.load_state_dict(own)
        targets = task.data.train.targets[fold.dev]
        shares = module(task.data.train.inputs[fold.dev]).softmax(dim=1).detach().numpy()
        assert float((shares.argmax(axis=1) == targets.numpy()).mean()) == pytest.approx(score)
        np.testing.assert_allclose(predictions[start : start + len(fold.dev)], shares, atol=1e-5)
        start += len(fold.dev)


def test_no_network_visits_its_dev_examples_and_all_visit_equally_many() -> None:
    data = folded()
    orders = [fold_orders(7, epoch, [fold.train for fold in data.folds], 133) for epoch in range(8)]
    for number, fold in enumerate(data.folds):
        visited = [set(order[number].tolist()) for order in orders]
        assert {len(order[number]) for order in orders} == {133}
        assert not set().union(*visited) & set(fold.dev.tolist())
        assert set().union(*visited) == set(fold.train.tolist())


@pytest.mark.parametrize("task", ["classification", "multi_label", "regression"])
def test_an_ensemble_answers_with_the_mean(task: str) -> None:
    torch.manual_seed(0)
    networks = [torch.nn.Linear(3, 2) for _ in range(4)]
    x = torch.randn(5, 3)
    read = {"classification": lambda z: z.softmax(dim=1), "multi_label": torch.sigmoid, "regression": lambda z: z}[task]
    expected = torch.stack([read(network(x)) for network in networks]).mean(dim=0)
    assert torch.allclose(read(FoldEnsemble(networks, task)(x)), expected, atol=1e-5)


def test_a_trial_is_measured_on_what_each_fold_holds_out_of_its_own_training(tmp_path: Path) -> None:
    whole = folded()
    apart = tuple(replace(fold, train=fold.train[20:], train_dev=fold.train[:20]) for fold in whole.folds)
    task = make_task(replace(whole, folds=apart), epochs=1)
    (job,) = jobs(tmp_path, [{"learning_rate": 0.05}], to_epoch=1)
    (finished,) = [event for event in run_cohort(task, [job]) if isinstance(event, TrialFinished)]
    weights = parted_weights(torch.load(Path(job.folder) / "weights.pt", weights_only=True), folds=FOLDS)
    scores = []
    for own, member, fold in zip(weights, task.member(job).folds, apart, strict=True):
        module = member.make_module().eval()
        module.load_state_dict(own)
        held_out = fold.train_dev
        said = module(whole.train.inputs[held_out]).argmax(dim=1)
        scores.append(float((said == whole.train.targets[held_out]).float().mean()))
    assert finished.facts["train_dev_metric"] == pytest.approx(np.mean(scores))
    assert len(finished.facts["fold_scores"]) == FOLDS
