"""A trial's curve depends on the trial alone: not on its neighbours, on compaction, or on being interrupted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch

from tests.train.cohorts import curves, diabetes, digits, figures, jobs, labelled_digits, make_task, run_cohort
from tuner.data.dataset import TrainingData
from tuner.paths import TrialPaths
from tuner.records import EpochsFinished, Params, TrialFinished, TrialInterrupted, TrialPaused
from tuner.train.loop.checkpoint import read_checkpoint
from tuner.train.loop.cohort import Cohort

TWO_LAYERS = "tests/train/user_modules.py:two_layers"


def per_trial(count: int) -> list[Params]:
    """Configurations that differ in everything that never splits a cohort."""
    return [
        {
            "learning_rate": 0.01 * (1 + i % 4),
            "momentum": 0.5 + 0.1 * (i % 5),
            "weight_decay": 1e-4 * (i % 3),
            "dropout": 0.15 * (i % 4),
            "lr_decay": 0.1 * (i % 2),
        }
        for i in range(count)
    ]


PATHS: Mapping[str, Mapping[str, object]] = {
    "mlp sgd": {},
    "mlp nesterov, clipped, l1": {"nesterov": True, "clip_norm": 1.0, "l1": 1e-5},
    "mlp rmsprop": {"optimizer": "rmsprop", "learning_rate": 0.001},
    "mlp adam": {"optimizer": "adam"},
    "mlp adamw": {"optimizer": "adamw"},
    "mlp amsgrad": {"optimizer": "amsgrad", "learning_rate": 0.001},
    "mlp nadam": {"optimizer": "nadam", "learning_rate": 0.001},
    "mlp lion": {"optimizer": "lion", "learning_rate": 0.001},
    "mlp max norm": {"max_norm": 0.7, "dropout_last": 0.4, "settings": {"hidden_units": 37}},
    "one cycle, orthogonal": {"schedule": "one_cycle", "init": "orthogonal"},
    "mlp batch norm": {"settings": {"norm": "batch"}},
    "ema": {"averaging": "ema", "settings": {"norm": "batch"}, "ema_decay": 0.9},
    "swa": {"averaging": "swa", "swa_start": 0.3},
    "user module, ema": {"model": TWO_LAYERS, "averaging": "ema"},
    "user module, batch norm, swa": {
        "model": "tests/train/user_modules.py:normed",
        "averaging": "swa",
        "swa_start": 0.3,
    },
    "mlp odd shapes": {"settings": {"hidden_units": 37}, "batch_size": 41},
    "mlp sigmoid": {"settings": {"hidden_units": 20, "activation": "sigmoid"}},
    "mlp gelu": {"settings": {"hidden_units": 20, "activation": "gelu"}},
    "mlp tanh": {"settings": {"hidden_units": 20, "activation": "tanh"}},
    "logistic": {"settings": {"hidden_layers": 0}},
    "cosine with warm-up": {"schedule": "cosine", "warmup_epochs": 1.0},
    "regression": {"data": diabetes()},
    "cnn": {"model": "cnn", "settings": {"channels": 4, "hidden_units": 16, "norm": "batch"}},
    "linear": {"model": "linear"},
    "mlp layer norm, residual": {
        "settings": {"hidden_units": 37, "hidden_layers": 3, "norm": "layer", "residual": True}
    },
    "mlp layer norm, sigmoid": {"settings": {"hidden_units": 20, "norm": "layer", "activation": "sigmoid"}},
    "cnn layer norm": {"model": "cnn", "settings": {"channels": 4, "hidden_units": 16, "norm": "layer"}},
    "resnet": {"model": "resnet", "settings": {"channels": 4}},
    "cnn, max norm": {"model": "cnn", "settings": {"channels": 4, "hidden_units": 16}, "max_norm": 0.7},
    "conv1d": {"model": "conv1d", "settings": {"channels": 4}},
    "gru": {"model": "recurrent", "settings": {"hidden_units": 8, "hidden_layers": 2, "bidirectional": True}},
    "lstm": {"model": "recurrent", "settings": {"hidden_units": 8, "cell": "lstm"}, "optimizer": "adam"},
    "transformer": {"model": "transformer", "settings": {"heads": 2, "units_per_head": 4, "hidden_layers": 1}},
    "user module": {"model": TWO_LAYERS},
    "user module, max norm": {"model": TWO_LAYERS, "max_norm": 0.7},
    "augmented": {"augment": 0.7, "augment_flip": True, "augment_cutout": True, "augment_noise": True},
    "cnn, augmented": {"model": "cnn", "settings": {"channels": 4, "hidden_units": 16}, "augment": 0.5},
    "soft labels": {"mixup": 0.3, "label_smoothing": 0.1, "input_dropout": 0.2, "batch_size": 41},
    "regression, mixup": {"data": diabetes(), "mixup": 0.3},
    "user module, soft labels": {"model": TWO_LAYERS, "augment": 0.5, "mixup": 0.3, "label_smoothing": 0.1},
    "thawing": {
        "settings": {"norm": "batch"},
        "unfreeze_every_epochs": 1,
        "body_learning_rate_factor": 0.3,
        "clip_norm": 1.0,
    },
    "cnn, frozen": {"model": "cnn", "settings": {"channels": 4, "hidden_units": 16, "norm": "batch"}, "train_last": 2},
    "user module, frozen": {"model": "tests/train/user_modules.py:normed", "train_last": 1},
    "user module, thawing": {"model": "tests/train/user_modules.py:normed", "unfreeze_every_epochs": 1},
    "user module, batch norm": {"model": "tests/train/user_modules.py:normed"},
    "class weights": {"class_weights": "balanced", "batch_size": 41},
    "user module, class weights": {"model": TWO_LAYERS, "class_weights": "balanced", "mixup": 0.3},
    "labels": {"data": labelled_digits(), "batch_size": 41},
    "user module, labels": {"data": labelled_digits(), "model": TWO_LAYERS},
}


DEAR = (
    "gru", "lstm", "transformer", "conv1d", "resnet", "cnn layer norm", "cnn, max norm", "cnn, augmented",
    "sgd, resnet", "sgd, cnn", "sgd, ema", "sgd, soft labels", "sgd, residual", "sgd, user module, soft", "nadam",
    "amsgrad", "sgd, sigmoid", "sgd, odd width", "sgd, layer norm", "sgd, augmented", "sgd, regression", "adamw",
    "sgd, user module, max norm", "user module, frozen", "user module, labels", "user module, class weights",
    "cnn, frozen", "user module, batch norm, swa", "regression, mixup",
)  # fmt: skip
"""Are left to `make deep`: what they have of their own, others have in small."""


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.deep if n in DEAR else ()) for n in PATHS])
def test_a_trial_alone_in_a_cohort_and_resumed_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    task = make_task(**PATHS[name])
    configurations = per_trial(9)
    together = curves(run_cohort(task, jobs(tmp_path / "together", configurations)))
    alone = jobs(tmp_path / "alone", configurations)
    first, last = alone[4], alone[8]
    assert figures(curves(run_cohort(task, [first]))[4]) == figures(together[4])
    assert figures(curves(run_cohort(task, [last, alone[1]]))[8]) == figures(together[8])

    # Paused after one epoch in a cohort of nine, continued in one of two.
    short = jobs(tmp_path / "resumed", configurations, to_epoch=1)
    run_cohort(task, short)
    going_on = [j for j in jobs(tmp_path / "resumed", configurations) if j.trial in (3, 7)]
    resumed = curves(run_cohort(task, going_on))
    for trial in (3, 7):
        assert figures(resumed[trial]) == figures(together[trial])


@pytest.mark.slow
def test_leaving_and_joining_members_do_not_change_the_others(tmp_path: Path) -> None:
    task = make_task(epochs=6)
    configurations = per_trial(6)
    whole = curves(run_cohort(task, jobs(tmp_path / "a", configurations, to_epoch=6)))
    members = jobs(tmp_path / "b", configurations, to_epoch=6)
    early = [j if j.trial % 2 else _sent_to(j, 2) for j in members]
    cohort = Cohort(task, early[:4], worker="test")
    events = []
    for number, step in enumerate(cohort.epochs()):
        events += step
        if number == 2:
            cohort.join(early[4:])
    found = curves(events)
    for job in early:
        assert figures(found[job.trial]) == figures(whole[job.trial])[: job.to_epoch]


@pytest.mark.slow
def test_widths_that_share_a_rounded_shape_are_trained_together_and_alone_alike(tmp_path: Path) -> None:
    task = make_task()
    configurations = [{**c, "hidden_units": 33 + i} for i, c in enumerate(per_trial(8))]
    together = curves(run_cohort(task, jobs(tmp_path / "a", configurations)))
    for job in jobs(tmp_path / "b", configurations)[::3]:
        assert figures(curves(run_cohort(task, [job]))[job.trial]) == figures(together[job.trial])


REFERENCE: Sequence[tuple[str, Mapping[str, object], float]] = (
    ("sgd", {}, 1e-5),
    ("sgd, nesterov, clipped, l1", {"nesterov": True, "clip_norm": 0.5, "l1": 1e-4}, 1e-5),
    ("sgd, odd width", {"settings": {"hidden_units": 37}}, 1e-5),
    ("sgd, sigmoid", {"settings": {"activation": "sigmoid", "hidden_units": 20}}, 1e-5),
    ("sgd, batch norm", {"settings": {"norm": "batch"}}, 2e-5),
    ("sgd, regression", {"data": diabetes()}, 1e-5),
    ("sgd, cnn", {"model": "cnn", "settings": {"channels": 4, "hidden_units": 16}}, 1e-5),
    ("sgd, linear", {"model": "linear"}, 1e-5),
    ("sgd, layer norm", {"settings": {"hidden_units": 37, "norm": "layer"}}, 2e-5),
    ("sgd, residual", {"settings": {"hidden_layers": 3, "residual": True}}, 2e-5),
    # Without ReLU, since of so many sums one that is rounded otherwise is now and then positive where the other is not;
    # biases before its batch norms are rounding alone, some 1e-7.
    ("sgd, resnet", {"model": "resnet", "settings": {"channels": 4, "activation": "tanh"}}, 1e-3),
    ("sgd, user module", {"model": TWO_LAYERS}, 1e-5),
    ("sgd, augmented", {"augment": 0.5, "augment_noise": True, "input_dropout": 0.1}, 1e-5),
    ("sgd, max norm", {"max_norm": 0.7, "dropout_last": 0.4, "init": "orthogonal", "schedule": "one_cycle"}, 1e-5),
    ("sgd, user module, max norm", {"model": TWO_LAYERS, "max_norm": 0.7}, 1e-5),
    ("sgd, ema", {"averaging": "ema", "ema_decay": 0.9, "settings": {"norm": "batch"}}, 2e-5),
    ("sgd, user module, swa", {"model": TWO_LAYERS, "averaging": "swa", "swa_start": 0.3}, 1e-5),
    ("sgd, soft labels", {"mixup": 0.3, "label_smoothing": 0.1, "batch_size": 41}, 1e-5),
    (
        "sgd, user module, soft",
        {"model": TWO_LAYERS, "augment": 0.5, "mixup": 0.3, "label_smoothing": 0.1},
        1e-5,
    ),
    ("sgd, an average", {"dampening": "auto", "bias_correction": True, "init": "lecun"}, 1e-5),
    ("rmsprop", {"optimizer": "rmsprop", "dampening": "auto", "epsilon": 1e-4}, 1e-3),
    ("adam", {"optimizer": "adam"}, 1e-3),
    ("adam, uncorrected", {"optimizer": "adam", "bias_correction": False, "epsilon": 1e-4}, 1e-3),
    ("adamw", {"optimizer": "adamw"}, 1e-3),
    ("amsgrad", {"optimizer": "amsgrad"}, 1e-3),
    ("nadam", {"optimizer": "nadam"}, 1e-3),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "spec", "tolerance"),
    [pytest.param(*r, id=r[0], marks=pytest.mark.deep if r[0] in DEAR else ()) for r in REFERENCE],
)
def test_fused_training_is_that_of_plain_modules_and_torch_optim(
    name: str, spec: Mapping[str, object], tolerance: float, tmp_path: Path
) -> None:
    """Five epochs, dropout of the built-in networks included: their plain modules draw the same masks."""
    own: Params = {"learning_rate": 0.001} if "sgd" not in name else {}
    if "user module" in name:
        own = {**own, "dropout": 0.0}  # as written, `nn.Dropout` draws masks of its own
    configurations = [{**c, **own} for c in per_trial(9)]
    runs = {}
    for fuse in ("auto", "off"):
        task = make_task(**{**spec, "fuse": fuse, "epochs": 5})
        found = run_cohort(task, jobs(tmp_path / fuse, configurations, to_epoch=5))
        runs[fuse] = curves(found)
        assert sum(isinstance(e, TrialFinished) for e in found) == 9
    for trial in range(9):
        for ours, plain in zip(runs["auto"][trial], runs["off"][trial], strict=True):
            assert ours.train_loss == pytest.approx(plain.train_loss, rel=10 * tolerance)
            assert ours.dev_loss == pytest.approx(plain.dev_loss, rel=10 * tolerance)
    if "sgd" not in name:
        return  # where a second moment is near zero, Adam and RMSprop amplify rounding in single weights
    for trial in range(9):
        ours, plain = (
            torch.load(tmp_path / fuse / f"{trial:04d}" / "weights.pt", weights_only=True) for fuse in ("auto", "off")
        )
        for key, value in plain.items():
            if key.endswith("num_batches_tracked"):
                continue
            scale = value.abs().max().clamp_min(1e-3)
            assert ((ours[key] - value).abs().max() / scale).item() <= tolerance, key


def test_an_interrupted_cohort_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.train.loop.stretch.SHARE", 0.0)
    task = make_task(epochs=5)
    configurations = per_trial(4)
    whole = curves(run_cohort(task, jobs(tmp_path / "a", configurations, to_epoch=5)))
    members = jobs(tmp_path / "b", configurations, to_epoch=5)
    cohort = Cohort(task, members, worker="test")
    events = []
    for step in cohort.epochs():
        events += step
        if any(isinstance(e, EpochsFinished) and e.results[-1].epoch == 2 for e in step):
            cohort.interrupt()
    assert len([e for e in events if isinstance(e, TrialInterrupted)]) == 4
    found = [read_checkpoint(TrialPaths(Path(job.folder))) for job in members]
    assert [checkpoint and checkpoint.epoch for checkpoint in found] == [2, 2, 2, 2]
    again = run_cohort(task, members)
    assert {t: figures(c) for t, c in curves(again).items()} == {t: figures(c) for t, c in whole.items()}


def test_a_paused_trial_is_not_finished_and_its_events_say_where_it_stands(tmp_path: Path) -> None:
    task = make_task()
    events = run_cohort(task, jobs(tmp_path, per_trial(2), to_epoch=2))
    assert [e.epoch for e in events if isinstance(e, TrialPaused)] == [2, 2]
    assert not any(isinstance(e, TrialFinished) for e in events)
    assert sum(len(e.results) for e in events if isinstance(e, EpochsFinished)) == 4


def _sent_to(job: object, to_epoch: int) -> object:
    from dataclasses import replace

    return replace(job, to_epoch=to_epoch)  # type: ignore[type-var]


def test_the_data_of_these_tests_is_learnable(tmp_path: Path) -> None:
    data: TrainingData = digits()
    task = make_task(epochs=12)
    curve = curves(run_cohort(task, jobs(tmp_path, [{"learning_rate": 0.05}], to_epoch=12)))[0]
    assert len(data.dev) == 100
    assert curve[-1].dev_metric > 0.85
