"""Users' LightningModules: Lightning's own loop, exact across pauses, and what is wrong with them said beforehand."""

from __future__ import annotations

import csv
import gc
import logging
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch.nn.functional import cross_entropy

from tests.train.cohorts import curves, digits, jobs, make_spec, run_cohort
from tests.train.cohorts import figures as figures_of
from tuner.errors import MissingExtraError, TunerError, UserCodeError
from tuner.imports import load_object
from tuner.models.keyed import batch_order, seed_module
from tuner.records import EpochResult, EpochsFinished, TrialFinished, TrialPaused
from tuner.spec.model import DimensionSpec
from tuner.train.before.contract import check_contract
from tuner.train.before.lr_range import range_test
from tuner.train.task import Task

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*this fit will run with no optimizer:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*:FutureWarning:(pytorch_)?lightning"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:(pytorch_)?lightning"),
]

HERE = str(Path(__file__).parent)
CONFIGURATIONS = [{"learning_rate": 0.05, "width": 16}, {"learning_rate": 0.1, "width": 16}]
EPOCHS = 5
FORMS = ("one", "list", "two lists", "dict", "steps", "every two", "plateau")


def make_task(model: str = "lightning_modules.py:factory", *, space: dict[str, Any] | None = None, **spec: Any) -> Task:
    settings = spec.pop("settings", {})
    made = make_spec(model=model, settings=settings, root=HERE, **{"epochs": EPOCHS, "batch_size": 64, **spec})
    if space is not None:
        parts = {name: DimensionSpec(**part) for name, part in space.items()}
        made = made.model_copy(update={"space": parts})
    return Task(made, digits(), torch.device("cpu"))


def train(folder: Path, *, pauses: tuple[int, ...] = (), form: str = "one", **spec: Any) -> dict[int, list[Any]]:
    """The curves of two trials; after each pause a new task goes on from the checkpoints."""
    found: dict[int, dict[int, EpochResult]] = {}
    for epoch in (*pauses, EPOCHS):
        task = make_task(settings={"form": form}, **spec)
        events = run_cohort(task, jobs(folder, CONFIGURATIONS, to_epoch=epoch))
        for event in events:
            if isinstance(event, EpochsFinished):
                found.setdefault(event.trial, {}).update({r.epoch: r for r in event.results})
        kind = TrialFinished if epoch == EPOCHS else TrialPaused
        assert sum(isinstance(event, kind) for event in events) == len(CONFIGURATIONS)
    return {trial: figures_of(list(curve.values())) for trial, curve in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_paused_trial_has_the_curve_of_an_unbroken_one(form: str, tmp_path: Path) -> None:
    """With dropout, batch norm, and each documented form of `configure_optimizers`."""
    whole = train(tmp_path / "whole", form=form)
    assert [epoch for epoch, *_ in whole[0]] == [1, 2, 3, 4, 5]
    assert whole[0] != whole[1]
    assert train(tmp_path / "broken", form=form, pauses=(1, 3)) == whole


@pytest.mark.slow
def test_the_rates_of_the_curve_are_those_of_the_module(tmp_path: Path) -> None:
    def rates(form: str) -> list[float]:
        return [row[-1] for row in train(tmp_path / form, form=form)[0]]

    assert rates("dict") == pytest.approx([0.05, 0.025, 0.0125, 0.00625, 0.003125])
    assert rates("every two") == pytest.approx([0.05, 0.05, 0.025, 0.025, 0.0125])
    assert rates("steps")[-1] < 1e-5  # one cycle over all epochs of the full training
    assert rates("plateau")[-1] < 0.05  # it saw the val_loss that `validation_step` logs


@pytest.mark.slow
def test_a_bare_trainer_gives_the_same_weights(tmp_path: Path) -> None:
    """What tuner adds to Lightning's loop is nothing but the order of the examples, and the seed of each step."""
    task = make_task(settings={"form": "steps"})
    job = jobs(tmp_path, CONFIGURATIONS, to_epoch=EPOCHS)[0]
    run_cohort(task, [job])
    module = task.member(job).make_module()

    class Seeds(pl.Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, number: int) -> None:
            seed_module(job.seed, trainer.global_step, torch.device("cpu"))

    class Batches:
        epoch = 0

        def __len__(self) -> int:
            return 5

        def __iter__(self) -> Any:
            order = batch_order(job.seed, self.epoch, len(task.data.train))
            self.epoch += 1
            for chosen in order.split(64):
                yield task.data.train.inputs[chosen], task.data.train.targets[chosen]

    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=EPOCHS, callbacks=[Seeds()], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, limit_val_batches=0, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(module, Batches())
    with torch.no_grad():
        outputs = module.eval()(task.data.dev.inputs)
    with (tmp_path / "0000" / "curve.csv").open() as file:
        *_, last = csv.DictReader(file)
    loss = float(cross_entropy(outputs, task.data.dev.targets))
    assert (int(last["epoch"]), float(last["dev_loss"])) == (EPOCHS, pytest.approx(loss, rel=1e-5))


@pytest.mark.slow
def test_fits_end_with_their_trials(tmp_path: Path) -> None:
    """Nobody waits in a thread for an epoch that will not come."""
    train(tmp_path, pauses=(1, 2))
    gc.collect()
    assert [t.name for t in threading.enumerate() if t.name == "fit"] == []


@pytest.mark.slow
def test_why_they_are_not_fused_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        train(tmp_path / "a", pauses=(1,))
    said = "is trained one trial at a time: it is a LightningModule, which Lightning's Trainer trains with its own"
    assert sum(said in record.getMessage() for record in caplog.records) == 2  # once for each task
    with pytest.raises(
        TunerError, match=r"^fuse: require, but lightning_modules.py:factory cannot be fused: it is a L"
    ):
        train(tmp_path / "b", fuse="require")


@pytest.mark.slow
def test_a_module_does_not_stop_its_own_trial(tmp_path: Path) -> None:
    """All trials stop by the rule of the sweep, or they could not be compared."""
    task = make_task("lightning_modules.py:Impatient")
    events = run_cohort(task, jobs(tmp_path, CONFIGURATIONS, to_epoch=EPOCHS))
    assert [len(curve) for curve in curves(events).values()] == [EPOCHS, EPOCHS]
    stopping = {"patience": 1, "min_delta": 0.9}
    task = make_task("lightning_modules.py:Impatient", early_stopping=stopping)
    events = run_cohort(task, jobs(tmp_path / "stopped", CONFIGURATIONS, to_epoch=EPOCHS))
    reasons = [event.reason for event in events if isinstance(event, TrialFinished)]
    assert reasons == ["early stopping at epoch 2"] * 2


@pytest.mark.slow
def test_gradients_are_clipped_where_the_sweep_says_so(tmp_path: Path) -> None:
    """By so much here that plain SGD does not move."""
    free = train(tmp_path / "free", form="list")
    held = train(tmp_path / "held", form="list", clip_norm=1e-9)
    assert held[0][-1][1] > free[0][-1][1] + 0.5


@pytest.mark.slow
def test_the_older_name_of_the_package_does_as_well(tmp_path: Path) -> None:
    task = make_task("other_lightning.py:Linear")
    check_contract(task)
    job = jobs(tmp_path, [{"learning_rate": 0.01}], to_epoch=1)[0]
    run_cohort(task, [job])
    broken = run_cohort(task, [replace(job, to_epoch=EPOCHS)])
    whole = run_cohort(task, [replace(job, to_epoch=EPOCHS, folder=str(tmp_path / "whole"))])
    assert figures_of(curves(broken)[0]) == figures_of(curves(whole)[0])


def test_manual_optimisation_is_left_to_the_module(tmp_path: Path) -> None:
    task = make_task("wrong_lightning.py:Manual")
    check_contract(task)
    events = run_cohort(task, jobs(tmp_path, [{"learning_rate": 0.1}], to_epoch=EPOCHS))
    results = [r for e in events if isinstance(e, EpochsFinished) for r in e.results]
    assert results[-1].train_metric > 0.7


def test_a_class_gets_each_argument_by_its_name(tmp_path: Path) -> None:
    """What the sweep says comes first, then the class's own default."""
    task = make_task("lightning_modules.py:Net", space={"width": {"low": 4, "high": 8, "tier": 2}})
    (job,) = jobs(tmp_path, [{"width": 5}])
    hparams = task.member(job).make_module().hparams
    assert dict(hparams) == {"learning_rate": 0.05, "width": 5, "num_outputs": 10, "form": "one"}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "StepByItself",
            " cannot be trained by Lightning's Trainer: MisconfigurationException: No `training_step()` method defined",
        ),
        ("NoOptimizer", ": configure_optimizers returned no optimiser, so nothing can learn"),
        (
            "TwoOptimizers",
            " cannot be trained by Lightning's Trainer: RuntimeError: Training with multiple optimizers is only "
            "supported with manual optimization",
        ),
        ("FiveOutputs", " gives outputs of shape (4, 5) for 4 examples; give a logit for each class or label: (4, 10)"),
        (
            "NoForward",
            " fails for inputs of shape (4, 1, 8, 8): NotImplementedError: Module [NoForward] is missing the",
        ),
        (
            "NoScalar",
            " cannot be trained by Lightning's Trainer: RuntimeError: grad can be implicitly created only for scalar",
        ),
        (
            "RaisesInValidation",
            " cannot be trained by Lightning's Trainer: KeyError: 'no such metric\\nand a second line'",
        ),
        ("KeepsAnObject", ": its checkpoint holds wrong_lightning.Scalar, which cannot be read again safely; let"),
        ("NeedsMore", " needs width, which is no hyperparameter of this sweep and no fact of its data; give it under"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(model: str, message: str) -> None:
    with pytest.raises(UserCodeError) as found:
        check_contract(make_task(f"wrong_lightning.py:{model}"))
    assert str(found.value).startswith(f"wrong_lightning.py:{model}{message}")
    assert "\n" not in str(found.value)


def test_one_that_learns_nothing_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_contract(make_task("wrong_lightning.py:Learnless", space={"batch_size": {"choices": [32, 64]}}))
    said = [r.getMessage() for r in caplog.records if "trial at a time" not in r.getMessage()]
    assert said == [
        "wrong_lightning.py:Learnless: no parameter gets a gradient from the first batch, so nothing may learn from it"
    ]


@pytest.mark.parametrize(
    ("model", "unread"),
    [("Linear", "learning_rate, optimizer"), ("hands_on", "width, optimizer")],
)
def test_what_of_the_sweep_has_no_effect_is_named(model: str, unread: str, caplog: pytest.LogCaptureFixture) -> None:
    """Of tuner's own hyperparameters too, since the module does all of a step but the batch's size and the clipping."""
    space = {"learning_rate": {}, "width": {"low": 4, "high": 8, "tier": 2}, "batch_size": {}, "clip_norm": {}}
    with caplog.at_level(logging.WARNING):
        check_contract(make_task(f"wrong_lightning.py:{model}", space=space, optimizer="adam"))
    (said,) = [r.getMessage() for r in caplog.records if "trial at a time" not in r.getMessage()]
    assert said.startswith(f"wrong_lightning.py:{model} does not read {unread} for the default configuration")


def test_what_cannot_be_with_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UserCodeError, match=r"^training.loss has no effect on lightning_modules.py:factory: a Lightning"
    ):
        train(tmp_path, loss="user_parts.py:cross_entropy")
    with pytest.raises(UserCodeError, match=r"^training.changes has no effect on lightning_modules.py:factory"):
        train(tmp_path, changes=[{"after_epoch": 1, "momentum": 0.5}])
    with pytest.raises(UserCodeError, match=r"configure_optimizers sets the learning rate; use Lightning's own"):
        range_test(make_task(), jobs(tmp_path, CONFIGURATIONS)[0], low=1e-4, high=1.0, steps=8)


def test_without_lightning_the_way_to_install_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "needs_it.py").write_text("import lightning\n")
    monkeypatch.setitem(sys.modules, "lightning", None)
    with pytest.raises(MissingExtraError, match=r'^lightning is needed .*run: pip install "tuner\[lightning\]"$'):
        load_object("needs_it.py:Net", root=tmp_path)
