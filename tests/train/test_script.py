"""What a training script calls: `tuner.report`, and the callback for trainers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

import tuner
import tuner.report.analysis  # from then on `tuner.report` is this package
from tuner.errors import UserCodeError
from tuner.train.own.reports import ReportError, parse_line


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What a script that is started for a trial has reported so far; its metric is accuracy."""
    file = tmp_path / "reports"
    monkeypatch.setenv("TUNER_REPORT", str(file))
    monkeypatch.setenv("TUNER_METRIC", "accuracy")
    monkeypatch.delenv("RANK", raising=False)
    return lambda: [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_an_epoch_is_a_line_that_is_read_as_it_was_told(reports: Any, tmp_path: Path) -> None:
    tuner.report(1, accuracy=torch.tensor(0.5), train_loss=2)
    tuner.report(epoch=2, accuracy=float("nan"))
    assert reports()[0] == {"epoch": 1, "accuracy": 0.5, "train_loss": 2.0}
    told = [parse_line(line, metric="accuracy") for line in (tmp_path / "reports").read_text().splitlines()]
    assert [report.epoch for report in told if report is not None] == [1, 2]


def test_without_a_sweep_nothing_is_written_or_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TUNER_REPORT", raising=False)
    tuner.report(1, accuracy=0.5)
    assert (list(tmp_path.iterdir()), capsys.readouterr()) == ([], ("", ""))


def test_of_several_processes_the_first_reports(reports: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        tuner.report(1, accuracy=0.5)
    assert len(reports()) == 1


@pytest.mark.parametrize(
    ("epoch", "values", "said"),
    [
        (1, {"acc": 0.5}, "a report needs accuracy, the objective's metric; got acc"),
        (0.5, {"accuracy": 0.5}, "epoch must be the number of finished epochs, got 0.5"),
        (1, {"accuracy": torch.ones(2)}, "accuracy must be a number, got tensor([1., 1.])"),
    ],
)
def test_what_is_no_report_is_said_where_it_is_made(reports: Any, epoch: Any, values: Any, said: str) -> None:
    with pytest.raises(ReportError) as caught:
        tuner.report(epoch, **values)
    assert (str(caught.value), reports()) == (said, [])


@pytest.mark.slow
def test_reporting_imports_nothing_heavy() -> None:
    code = "import sys, tuner; tuner.report(1, a=1); print([m for m in sys.modules if m in sys.argv])"
    heavy = ("torch", "numpy", "pandas", "pydantic", "optuna", "rich")
    found = subprocess.run([sys.executable, "-c", code, *heavy], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.fixture
def callback(monkeypatch: pytest.MonkeyPatch) -> Any:
    """That of a script that has imported both kinds of trainers."""
    for module, name in (("transformers.trainer", "TrainerCallback"), ("lightning.pytorch", "Callback")):
        trainer = ModuleType(module)
        setattr(trainer, name, type(name, (), {}))
        monkeypatch.setitem(sys.modules, module, trainer)
    monkeypatch.delitem(sys.modules, "pytorch_lightning", raising=False)
    return tuner.report_callback()


def state(step: int, epoch: float, **more: Any) -> SimpleNamespace:
    log = [{"loss": 0.7, "learning_rate": 0.01}, {"eval_loss": 0.3}]
    given = {"is_world_process_zero": True, "eval_steps": 10, "log_history": log, **more}
    return SimpleNamespace(global_step=step, epoch=epoch, **given)


@pytest.mark.parametrize("strategy", ["epoch", "steps"])
def test_evaluations_of_hugging_faces_trainer_are_epochs(reports: Any, callback: Any, strategy: str) -> None:
    arguments, measured = SimpleNamespace(eval_strategy=strategy), {"eval_accuracy": 0.9, "eval_loss": 0.3, "epoch": 1}
    callback.on_evaluate(arguments, state(0, 0), None, metrics=measured)  # by hand, before the training
    callback.on_train_begin(arguments, state(0, 0), None, model=None)
    callback.on_evaluate(arguments, state(10, 1.0), None, metrics=measured, model=None)
    callback.on_evaluate(arguments, state(10, 1.0), None, metrics={"eval_other_loss": 0.1})  # of a second dev set
    callback.on_evaluate(arguments, state(20, 2.0), None, metrics=measured)
    callback.on_evaluate(arguments, state(25, 2.5), None, metrics=measured)  # the end, within an epoch
    callback.on_evaluate(arguments, state(30, 3.0, is_world_process_zero=False), None, metrics=measured)
    callback.on_train_end(arguments, state(30, 3.0), None, model=None)
    callback.on_evaluate(arguments, state(30, 3.0), None, metrics=measured)  # on the test set, perhaps
    assert [report["epoch"] for report in reports()] == [1, 2]
    assert reports()[0] == {
        "epoch": 1, "accuracy": 0.9, "eval_accuracy": 0.9, "loss": 0.3, "eval_loss": 0.3,
        "train_loss": 0.7, "learning_rate": 0.01,
    }  # fmt: skip


def lightning(epoch: int, **more: Any) -> SimpleNamespace:
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}])
    given = {"is_global_zero": True, "check_val_every_n_epoch": 1, "optimizers": [optimizer], **more}
    measured = {"val_accuracy": torch.tensor(0.5), "train_loss": torch.tensor(2.0)}
    return SimpleNamespace(current_epoch=epoch, callback_metrics=measured, **given)


def test_epochs_of_lightnings_trainer_count_from_one_by_evaluations(reports: Any, callback: Any) -> None:
    for epoch in range(4):
        callback.on_train_epoch_end(lightning(epoch, check_val_every_n_epoch=2), None)
    callback.on_train_epoch_end(lightning(5, is_global_zero=False), None)
    callback.on_train_end(lightning(4), None)
    assert [report["epoch"] for report in reports()] == [1, 2]
    assert reports()[0] == {
        "epoch": 1, "accuracy": 0.5, "val_accuracy": 0.5, "train_loss": 2.0, "learning_rate": pytest.approx(0.1)
    }  # fmt: skip


def test_a_metric_that_was_never_measured_is_said_at_the_end(
    reports: Any, callback: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNER_METRIC", "f1")
    callback.on_train_epoch_end(lightning(0), None)
    with pytest.raises(ReportError, match="needs f1, the objective's metric; measured were val_accuracy, train_loss"):
        callback.on_train_end(lightning(0), None)
    monkeypatch.delenv("TUNER_METRIC")  # by hand it may measure what it will
    callback.on_train_end(lightning(0), None)
    assert reports() == []


def test_a_callback_is_for_a_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("transformers.trainer", "lightning.pytorch", "pytorch_lightning"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(UserCodeError, match=r"import one of them first; in a loop of your own, call tuner\.report"):
        tuner.report_callback()
