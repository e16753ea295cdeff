"""The training loop: when trials end, what they leave behind, and what it says of them."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.cohorts import best_of, curves, diabetes, digits, figures, jobs, make_spec, make_task, run_cohort
from tests.train.test_exactness import per_trial
from tuner.data.dataset import Split, TrainingData
from tuner.paths import TrialPaths
from tuner.records import (
    EpochResult,
    EpochsFinished,
    FailureReason,
    Params,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialInterrupted,
    TrialJob,
    TrialPaused,
    TrialStarted,
)
from tuner.spec.model import EarlyStoppingSpec, LimitsSpec
from tuner.train.after.evaluate import evaluate_weights
from tuner.train.loop.cohort import Cohort
from tuner.train.loop.early_stopping import Patience
from tuner.train.task import Task

ONE_EXAMPLE = 1.01 / 100
"""Of the dev set: another way to compute the same outputs may put one on the other side."""
WAYS = {
    "stacked": {},
    "plain": {"fuse": "off"},
    "users' module": {"model": "tests/train/user_modules.py:two_layers"},
}


def only(kind: type, events: Sequence[TrialEvent]) -> list:  # type: ignore[type-arg]
    return [e for e in events if isinstance(e, kind)]


def paths_of(job: TrialJob) -> TrialPaths:
    return TrialPaths(Path(job.folder))


# Divergence


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rate", [1e6, 1e30])
def test_a_trial_that_diverges_ends_at_once_and_the_others_do_not_notice(way: str, rate: float, tmp_path: Path) -> None:
    task = make_task(epochs=4, momentum=0.0, **WAYS[way])
    calm: list[Params] = [{"learning_rate": 0.02 * (1 + i)} for i in range(4)]
    wild = [calm[0], {"learning_rate": rate}, *calm[2:]]
    events = run_cohort(task, jobs(tmp_path / "wild", wild, to_epoch=4))
    (failed,) = only(TrialFailed, events)
    assert (failed.trial, failed.reason, failed.retryable) == (1, FailureReason.DIVERGED, False)
    epochs = len(curves(events).get(1, []))
    assert failed.message.endswith(f"in epoch {epochs + 1}")
    assert re.search("loss (became (nan|inf)|exploded to )", failed.message)
    assert [e.trial for e in only(TrialFinished, events)] == [0, 2, 3]
    expected = curves(run_cohort(task, jobs(tmp_path / "calm", calm, to_epoch=4)))
    for trial in (0, 2, 3):
        assert figures(curves(events)[trial]) == figures(expected[trial])


def test_a_late_divergence_names_its_epoch_and_keeps_the_curve(tmp_path: Path) -> None:
    """The rate rises during a warm-up until the loss explodes."""
    task = make_task(epochs=10, warmup_epochs=8.0, momentum=0.0)
    job = jobs(tmp_path, [{"learning_rate": 1e5}], to_epoch=10)[0]
    job = replace(job, params={"learning_rate": 30.0})
    events = run_cohort(task, [job])
    failed = only(TrialFailed, events)
    if not failed:
        pytest.fail("the rate of this test must make the training diverge")
    curve = curves(events)[0]
    assert failed[0].message.endswith(f"in epoch {len(curve) + 1}")
    assert len(curve) >= 1
    with paths_of(job).curve.open(newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [r.epoch for r in curve]
    assert all(math.isfinite(r.dev_loss) for r in curve)


# Early stopping, and the weights of the best epoch


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_early_stopping_ends_a_trial_patience_epochs_after_its_best(way: str, tmp_path: Path) -> None:
    rule = EarlyStoppingSpec(patience=2, min_delta=0.02)
    task = make_task(epochs=40, early_stopping=rule, **WAYS[way])
    members = jobs(tmp_path, [{"learning_rate": 0.03 * (1 + i)} for i in range(3)], to_epoch=40)
    events = run_cohort(task, members)
    for job in members:
        curve = curves(events)[job.trial]
        states = [Patience()]
        for result in curve:
            states.append(states[-1].after(result, direction=task.direction, rule=rule))
        assert states[-1].exhausted(rule)
        assert not any(state.exhausted(rule) for state in states[:-1])
        (finished,) = [e for e in only(TrialFinished, events) if e.trial == job.trial]
        assert finished.reason == f"early stopping at epoch {len(curve)}"
        assert len(curve) < 40


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_the_files_of_a_trial_are_those_of_its_best_epoch(way: str, tmp_path: Path) -> None:
    task = make_task(epochs=8, momentum=0.0, **WAYS[way])
    members = jobs(tmp_path, [{"learning_rate": rate, "dropout": 0.4} for rate in (0.02, 0.7, 1.0, 1.4)], to_epoch=8)
    events = run_cohort(task, members)
    best_epochs = [best.epoch for job in members if (best := best_of(curves(events)[job.trial]))]
    assert min(best_epochs) < 8 == max(best_epochs), "some must be best before the end, and one then"
    for job in members:
        curve, paths = curves(events)[job.trial], paths_of(job)
        best = best_of(curve)
        assert best is not None
        assert best.dev_metric == max(r.dev_metric for r in curve)
        weights = torch.load(paths.weights, weights_only=True)
        outputs = task.dev_outputs(task.member(job), weights)
        scores = task.score_dev(outputs.unsqueeze(0))
        assert float(scores.metric[0]) == pytest.approx(best.dev_metric, abs=ONE_EXAMPLE)
        assert float(scores.loss[0]) == pytest.approx(best.dev_loss, rel=1e-5)
        predictions = np.load(paths.predictions)
        assert predictions == pytest.approx(torch.softmax(outputs, dim=1).numpy(), abs=1e-5)
        with paths.curve.open(newline="") as file:
            rows = [
                EpochResult(**{k: type(getattr(best, k))(v) for k, v in row.items()}) for row in csv.DictReader(file)
            ]
        assert rows == curve


def test_stored_weights_score_what_the_trial_was_ranked_by(tmp_path: Path) -> None:
    """In another process too: from the sweep file's values and the weights alone."""
    spec = make_spec(epochs=2, settings={"hidden_units": 24, "norm": "batch"})
    from tuner.data.load import load_training_data

    task = Task(spec, load_training_data(spec), torch.device("cpu"))
    job = jobs(tmp_path, [{"learning_rate": 0.05}], to_epoch=2)[0]
    best = best_of(curves(run_cohort(task, [job]))[0])
    assert best is not None
    found = evaluate_weights(spec, job.params, paths_of(job).weights)
    assert found.metric == pytest.approx(best.dev_metric, abs=ONE_EXAMPLE)
    assert found.loss == pytest.approx(best.dev_loss, rel=1e-5)
    assert found.agrees_with(paths_of(job).predictions)
    stored = np.load(paths_of(job).predictions)
    for other in (stored + np.eye(*stored.shape, dtype=np.float32) * 1e-3, stored[1:], np.full_like(stored, np.nan)):
        np.save(paths_of(job).predictions, other)
        assert not found.agrees_with(paths_of(job).predictions)
    paths_of(job).predictions.unlink()
    assert not found.agrees_with(paths_of(job).predictions)


def test_the_best_epoch_may_lie_before_a_pause(tmp_path: Path) -> None:
    """The first epoch is the best here, and its weights come through two pauses."""
    task = make_task(epochs=6)
    params: list[Params] = [{"learning_rate": 1.5, "momentum": 0.0, "dropout": 0.5}]
    for to_epoch in (2, 4, 6):
        job = jobs(tmp_path, params, to_epoch=to_epoch)[0]
        events = run_cohort(task, [job])
    curve = curves(events)[0]
    best = best_of(curve)
    assert best is not None
    assert len(curve) == 6
    assert best.epoch <= 4, "this configuration must have its best epoch before the last advance"
    outputs = task.dev_outputs(task.member(job), torch.load(paths_of(job).weights, weights_only=True))
    assert float(task.score_dev(outputs.unsqueeze(0)).metric[0]) == pytest.approx(best.dev_metric, abs=ONE_EXAMPLE)
    assert np.load(paths_of(job).predictions) == pytest.approx(torch.softmax(outputs, dim=1).numpy(), abs=1e-5)


def test_predictions_of_a_regression_are_in_the_targets_units(tmp_path: Path) -> None:
    data = diabetes()
    task = make_task(data, epochs=3)
    job = jobs(tmp_path, [{"learning_rate": 0.01}])[0]
    best = min(curves(run_cohort(task, [job]))[0], key=lambda result: result.dev_metric)
    predictions = np.load(paths_of(job).predictions)
    targets = (data.dev.targets * data.info.target_std[0] + data.info.target_mean[0]).numpy()
    assert float(np.sqrt(np.mean((predictions - targets) ** 2))) == pytest.approx(best.dev_metric, rel=1e-5)


# Batches


@pytest.mark.parametrize("batch_size", [1000, 300])
def test_a_batch_is_at_most_all_examples(batch_size: int, tmp_path: Path) -> None:
    """A batch size of the whole set or more is batch gradient descent, `full` in a sweep file."""
    configurations: list[Params] = [{"learning_rate": 0.1}]
    whole = run_cohort(make_task(batch_size="full"), jobs(tmp_path / "full", configurations))
    given = run_cohort(make_task(batch_size=batch_size), jobs(tmp_path / "given", configurations))
    assert figures(curves(given)[0]) == figures(curves(whole)[0])


def part_of(data: TrainingData, size: int) -> TrainingData:
    train = Split(data.train.inputs[:size], data.train.targets[:size])
    return TrainingData(train, data.dev, replace(data.info, num_train=size))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mlp", "tests/train/user_modules.py:normed"])
@pytest.mark.parametrize("num_train", [32, 33, 34, 63])
def test_the_last_batch_may_be_of_any_size(model: str, num_train: int, tmp_path: Path) -> None:
    """Batch norm has no variance of a single example: one that is left over waits for the next epoch."""
    settings = {"norm": "batch"} if model == "mlp" else {}
    configurations: list[Params] = [{"learning_rate": 0.001}] * 2
    found = {}
    for fuse in ("auto", "off"):
        task = make_task(part_of(digits(), num_train), model=model, settings=settings, fuse=fuse, batch_size=32)
        events = run_cohort(task, jobs(tmp_path / fuse, configurations))
        assert not only(TrialFailed, events)
        found[fuse] = curves(events)
    for trial in (0, 1):
        for ours, plain in zip(found["auto"][trial], found["off"][trial], strict=True):
            assert ours.dev_loss == pytest.approx(plain.dev_loss, rel=1e-4)


def test_a_single_example_can_be_trained_on(tmp_path: Path) -> None:
    task = make_task(part_of(digits(), 1))
    assert only(TrialFinished, run_cohort(task, jobs(tmp_path, [{"learning_rate": 0.1}])))


# Limits, interruption, and jobs that ask for nothing new


def test_a_trial_that_takes_too_long_fails_unless_it_is_done(tmp_path: Path) -> None:
    spec = make_spec(epochs=3).model_copy(update={"limits": LimitsSpec(trial_seconds=1e-9)})
    task = Task(spec, digits(), torch.device("cpu"))
    events = run_cohort(task, jobs(tmp_path / "late", [{"learning_rate": 0.1}]))
    (failed,) = only(TrialFailed, events)
    assert failed.reason is FailureReason.TIMEOUT
    assert "limits.trial_seconds is 1e-09" in failed.message
    assert len(curves(events)[0]) == 1
    one_epoch = Task(spec.model_copy(update={"training": make_spec(epochs=1).training}), digits(), torch.device("cpu"))
    events = run_cohort(one_epoch, jobs(tmp_path / "done", [{"learning_rate": 0.1}], to_epoch=1))
    assert only(TrialFinished, events)


def test_a_job_that_asks_for_no_more_than_its_checkpoint_holds_ends_at_once(tmp_path: Path) -> None:
    task = make_task(epochs=4)
    configurations = per_trial(3)
    run_cohort(task, jobs(tmp_path, configurations, to_epoch=2))
    members = jobs(tmp_path, configurations, to_epoch=2)
    events = run_cohort(task, [replace(members[0], to_epoch=4), *members[1:]])
    assert sorted((e.trial, e.epoch) for e in only(TrialPaused, events)) == [(1, 2), (2, 2)]
    assert [e.trial for e in only(TrialFinished, events)] == [0]
    assert [len(curves(events)[t]) for t in range(3)] == [4, 2, 2]


def test_an_interruption_before_the_first_epoch_starts_nothing(tmp_path: Path) -> None:
    members = jobs(tmp_path, per_trial(2))
    cohort = Cohort(make_task(), members, worker="test")
    cohort.interrupt()
    events = [e for step in cohort.epochs() for e in step]
    assert events == [TrialInterrupted(trial=j.trial) for j in members]
    assert not any(paths_of(j).checkpoint.exists() for j in members)


def test_what_a_cohort_says_of_its_members(tmp_path: Path) -> None:
    task = make_task(settings={"hidden_units": 20, "hidden_layers": 1})
    events = run_cohort(task, jobs(tmp_path, per_trial(3)))
    for started in only(TrialStarted, events):
        assert (started.worker, started.device, started.path, started.cohort_width) == ("test", "cpu", "stacked", 3)
        assert started.num_parameters == 64 * 20 + 20 + 20 * 10 + 10
    for epoch in only(EpochsFinished, events):
        assert all(0.0 <= r.dev_metric <= 1.0 and r.seconds > 0 for r in epoch.results)
    for finished in only(TrialFinished, events):
        assert finished.reason == "all epochs"
        assert all(norm > 0 for norm in finished.facts["gradient_norms"].values())


def test_a_trial_of_fewer_epochs_than_the_others_ends_first(tmp_path: Path) -> None:
    """`epochs` may be a hyperparameter: it belongs to the trial."""
    task = make_task(epochs=5)
    configurations: list[Params] = [{"learning_rate": 0.05, "epochs": n} for n in (1, 5, 3)]
    events = run_cohort(task, jobs(tmp_path, configurations, to_epoch=5))
    assert [e.trial for e in only(TrialFinished, events)] == [0, 2, 1]
    assert [len(curves(events)[t]) for t in range(3)] == [1, 5, 3]


# Dead units


@pytest.mark.parametrize("fuse", ["auto", "off"])
def test_dead_units_are_counted_by_hidden_layer(fuse: str, tmp_path: Path) -> None:
    """A huge step at first kills units; both ways to train count the same."""
    settings = {"hidden_units": 20, "hidden_layers": 2}
    task = make_task(fuse=fuse, settings=settings, epochs=1, momentum=0.0)
    events = run_cohort(task, jobs(tmp_path, [{"learning_rate": r} for r in (0.01, 3.0)], to_epoch=1))
    healthy, dying = (e.facts["dead_units"] for e in only(TrialFinished, events))
    assert list(healthy) == ["hidden layer 1", "hidden layer 2"]
    assert max(healthy.values()) <= 0.1
    assert max(dying.values()) > 0.3
    for job, found in zip(jobs(tmp_path, [{"learning_rate": r} for r in (0.01, 3.0)]), (healthy, dying), strict=True):
        module = task.member(job).make_module().eval()
        module.load_state_dict(torch.load(paths_of(job).weights, weights_only=True))
        x, shares = task.data.dev.inputs, []
        with torch.no_grad():
            x = torch.cat([x, task.evaluated[100:256]])
            for layer in module:
                x = layer(x)
                if isinstance(layer, torch.nn.ReLU):
                    shares.append(float((x == 0).all(dim=0).float().mean()))
        assert list(found.values()) == pytest.approx(shares)


def test_a_convolutions_units_are_its_channels(tmp_path: Path) -> None:
    found = {}
    for fuse in ("auto", "off"):
        task = make_task(model="cnn", fuse=fuse, settings={"channels": 4, "hidden_units": 20}, epochs=1, momentum=0.0)
        events = run_cohort(task, jobs(tmp_path / fuse, [{"learning_rate": r} for r in (0.01, 2.0)], to_epoch=1))
        found[fuse] = [e.facts["dead_units"] for e in only(TrialFinished, events)]
    assert list(found["auto"][0]) == [f"hidden layer {n + 1}" for n in range(len(found["auto"][0]))]
    for ours, plain in zip(found["auto"], found["off"], strict=True):
        assert ours == pytest.approx(plain)


def test_added_units_are_not_counted_as_dead(tmp_path: Path) -> None:
    task = make_task(settings={"hidden_units": 17, "hidden_layers": 1})
    (finished,) = only(TrialFinished, run_cohort(task, jobs(tmp_path, [{"learning_rate": 0.01}])))
    assert finished.facts["dead_units"]["hidden layer 1"] <= 2 / 17


@pytest.mark.parametrize("activation", ["tanh", "leaky_relu", "gelu"])
def test_units_that_cannot_die_are_not_counted(activation: str, tmp_path: Path) -> None:
    task = make_task(settings={"activation": activation})
    (finished,) = only(TrialFinished, run_cohort(task, jobs(tmp_path, [{"learning_rate": 0.01}])))
    assert "dead_units" not in finished.facts


def test_a_trial_that_was_there_already_says_nothing_of_gradients(tmp_path: Path) -> None:
    task = make_task(epochs=4)
    job = jobs(tmp_path, [{"learning_rate": 0.01}], to_epoch=2)
    first, again = (only(TrialPaused, run_cohort(task, job))[0] for _ in range(2))
    assert min(first.facts["gradient_norms"].values()) > 0
    assert "gradient_norms" not in again.facts
    assert again.facts["dead_units"] == first.facts["dead_units"]


def test_a_whole_job_ends_at_its_epoch_with_the_weights_of_it_on_the_schedule_of_a_longer_training(
    tmp_path: Path,
) -> None:
    task = make_task(epochs=6, schedule="cosine", lr_decay=1.0)
    (job,) = jobs(tmp_path, [{"learning_rate": 0.1}], to_epoch=3)
    whole = replace(job, is_whole=True, folder=str(tmp_path / "whole"))
    paused, ended = (run_cohort(task, [own]) for own in (job, whole))
    assert isinstance(paused[-1], TrialPaused)
    assert isinstance(ended[-1], TrialFinished)
    assert figures(curves(paused)[0]) == figures(curves(ended)[0])
    assert (tmp_path / "whole" / "weights.pt").is_file()
