"""Trials that a function of the user's trains: the executor's contract, and what a function may do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.contracts.executor_contract import EPOCHS, curve, drain, ends, figures, starts
from tests.execute.sweeps import drain_stalled, local_executor
from tests.execute.test_commands import command_sweep, make_job, train
from tests.execute.test_contract import RealContract
from tests.pretend_cuda import HAS_GPU
from tuner.errors import UserCodeError
from tuner.execute.executor import Executor
from tuner.execute.inline import InlineExecutor
from tuner.paths import StudyPaths, TrialPaths
from tuner.records import FailureReason, TrialFailed, TrialFinished, TrialInterrupted, TrialJob, TrialPaused
from tuner.spec.model import SweepSpec


def trainer_sweep(function: str = "train", **changes: Any) -> SweepSpec:
    return command_sweep(command=None, trainer=f"own_trainers.py:{function}", **changes)


class TestContract(RealContract):
    @contextmanager
    def open(self) -> Iterator[Executor]:
        executor = InlineExecutor(trainer_sweep(), StudyPaths(self.folder))
        yield executor
        executor.close()

    def job(self, trial: int, *, to_epoch: int = EPOCHS, fails: bool = False) -> TrialJob:
        return make_job(self.folder, trial, to_epoch=to_epoch, fault="raise" if fails else "none")

    def test_says_what_the_task_is(self, executor: Executor) -> None:
        assert executor.facts.metric == "score"
        assert executor.facts.data == {}


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    found = InlineExecutor(trainer_sweep(), StudyPaths(tmp_path))
    yield found
    found.close()


@pytest.mark.parametrize(
    ("fault", "reason", "words", "line"),
    [
        ("raise", FailureReason.ERROR, "ValueError: this trial is broken", "this trial is broken"),
        ("exit", FailureReason.EXITED, "sys.exit(3)", "sys.exit(3)"),
        ("nan", FailureReason.DIVERGED, "score became nan in epoch 2", ""),
        (
            "twice", FailureReason.ERROR,
            "it reported epoch 2 twice, with score 0.5 and then 0.02; report each epoch once, at its end, and leave "
            "score out of what else you report with an epoch", "",
        ),
        (
            "no metric", FailureReason.ERROR,
            "a report needs score, the objective's metric; got loss", "trial.report(epoch, loss=1.0)",
        ),
    ],
)  # fmt: skip
def test_what_goes_wrong_in_a_function_is_said(
    executor: Executor, tmp_path: Path, fault: str, reason: FailureReason, words: str, line: str
) -> None:
    end = ends(train(executor, make_job(tmp_path, 0, fault=fault)))[0]
    assert isinstance(end, TrialFailed)
    assert (end.reason, end.message) == (reason, words)
    assert line in end.traceback


def test_epoch_0_is_no_epoch_and_the_handle_says_how_far_to_train(executor: Executor, tmp_path: Path) -> None:
    job = make_job(tmp_path, 0, to_epoch=2, fault="measures first")
    events = train(executor, job)
    assert isinstance(ends(events)[0], TrialPaused)
    assert [result.epoch for result in curve(events, 0)] == [1, 2]
    files = TrialPaths(Path(job.folder))
    assert [line.split(",")[0] for line in files.curve.read_text().splitlines()[1:]] == ["0", "1", "2"]
    assert (files.own_checkpoint / "told").read_text() == f"2 of {EPOCHS}"


def test_a_function_that_returns_early_has_finished_its_trial(executor: Executor, tmp_path: Path) -> None:
    end = ends(train(executor, make_job(tmp_path, 0, fault="stops")))[0]
    assert isinstance(end, TrialFinished)
    assert end.reason == "the trainer ended by itself after epoch 1"


@pytest.mark.parametrize("fault", ["saves first", "saves never"])
def test_one_that_does_not_look_whether_to_stop_is_stopped_at_its_next_report(
    executor: Executor, tmp_path: Path, fault: str
) -> None:
    """What it had trained beyond is kept for when it goes on, and told then."""
    first = train(executor, make_job(tmp_path, 0, to_epoch=2, fault=fault))
    end = ends(first)[0]
    assert isinstance(end, TrialPaused)
    assert (end.epoch, [r.epoch for r in curve(first, 0)]) == (2, [1, 2])
    second = train(executor, make_job(tmp_path, 0, to_epoch=3, fault=fault))
    assert isinstance(ends(second)[0], TrialPaused)
    third = train(executor, make_job(tmp_path, 0, fault=fault))
    assert isinstance(ends(third)[0], TrialFinished)
    assert [r.dev_metric for r in curve([*first, *second, *third], 0)] == [0.01, 0.02, 0.03, 0.04]


@pytest.mark.slow
def test_a_function_that_hangs_is_lost_with_its_worker(tmp_path: Path) -> None:
    executor = local_executor(trainer_sweep(), tmp_path, workers=1)
    jobs = [make_job(tmp_path, 0, fault="hang"), make_job(tmp_path, 1)]
    executor.submit(jobs)
    events = drain(executor, jobs, until=(TrialPaths(Path(jobs[0].folder)).own_checkpoint / "epoch").exists)
    events += drain_stalled(executor, jobs, culprit=0)
    failed = ends(events)[0]
    assert isinstance(failed, TrialFailed)
    assert failed.reason is FailureReason.STALLED
    assert isinstance(ends(events)[1], TrialFinished)
    executor.close()


def test_an_interrupt_lets_a_function_end_its_epoch(tmp_path: Path) -> None:
    executor = local_executor(trainer_sweep(), tmp_path, workers=1)
    job = make_job(tmp_path, 0, fault="slow")
    executor.submit([job])
    mark = TrialPaths(Path(job.folder)).own_checkpoint / "epoch"
    events = drain(executor, [job], until=mark.exists)
    executor.interrupt()
    events += drain(executor, [job])
    end = ends(events)[0]
    assert isinstance(end, TrialInterrupted)
    executor.close()
    other = InlineExecutor(trainer_sweep(), StudyPaths(tmp_path))
    more = train(other, job)
    other.close()
    assert [start.from_epoch for start in starts(more)] == [len(curve(events, 0))]
    assert figures(curve([*events, *more], 0))[-1][0] == EPOCHS


def test_early_stopping_ends_a_function(tmp_path: Path) -> None:
    spec = trainer_sweep(training={"epochs": EPOCHS, "early_stopping": {"patience": 1, "min_delta": 1.0}})
    executor = InlineExecutor(spec, StudyPaths(tmp_path))
    end = ends(train(executor, make_job(tmp_path, 0)))[0]
    executor.close()
    assert isinstance(end, TrialFinished)
    assert end.reason == "early stopping at epoch 2"


def test_it_is_given_the_data_that_the_sweep_file_names(tmp_path: Path) -> None:
    executor = InlineExecutor(trainer_sweep("with_data", data={"source": "sklearn/wine"}), StudyPaths(tmp_path))
    events = train(executor, make_job(tmp_path, 0))
    facts = executor.facts
    executor.close()
    assert facts.data["num_outputs"] == 3
    assert curve(events, 0)[0].dev_metric == facts.data["num_train"] + facts.data["num_dev"] / 1000


def test_a_function_that_reports_nothing_has_failed(tmp_path: Path) -> None:
    executor = InlineExecutor(trainer_sweep("silent"), StudyPaths(tmp_path))
    end = ends(train(executor, make_job(tmp_path, 0)))[0]
    executor.close()
    assert isinstance(end, TrialFailed)
    assert end.message == (
        "the trainer returned without a report: it must call trial.report(epoch, score=...) after each epoch"
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("trian", 'own_trainers.py has no "trian". Did you mean "train"?'),
        ("nothing", "own_trainers.py:nothing is no function; a trainer is a function of the trial's handle"),
        (
            "of_two",
            "own_trainers.py:of_two cannot be called with one argument, the trial's handle (missing a required "
            "argument: 'more'); write def train(trial)",
        ),
    ],
)
def test_what_cannot_be_called_is_said_before_a_trial_is_lost(tmp_path: Path, function: str, message: str) -> None:
    with pytest.raises(UserCodeError) as found:
        InlineExecutor(trainer_sweep(function), StudyPaths(tmp_path))
    assert str(found.value) == message


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
@pytest.mark.skipif(HAS_GPU, reason="wants a second GPU, which the pretended machine has")
def test_a_function_of_the_users_has_its_gpu_for_the_current_one(device: str, tmp_path: Path) -> None:
    executor = InlineExecutor(trainer_sweep("on_a_gpu", training={"epochs": 1}), StudyPaths(tmp_path), device=device)
    job = make_job(tmp_path, 0, to_epoch=1)
    executor.submit([job])
    found = curve(drain(executor, [job]), 0)
    assert [result.dev_metric for result in found] == [torch.device(device).index]
