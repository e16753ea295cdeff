"""Trials that a command of the user's trains: the executor's contract, and what may happen to a program."""

from __future__ import annotations

import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.contracts.executor_contract import EPOCHS, curve, drain, ends, starts
from tests.execute.processes import eventually, state_of
from tests.execute.sweeps import local_executor
from tests.execute.test_contract import RealContract
from tuner.errors import UserCodeError
from tuner.execute.executor import Executor
from tuner.execute.inline import InlineExecutor
from tuner.paths import StudyPaths, TrialPaths
from tuner.records import (
    Direction,
    EpochsFinished,
    FailureReason,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialInterrupted,
    TrialJob,
    TrialPaused,
    TrialRecord,
    TrialState,
)
from tuner.spec.command import parse_command
from tuner.spec.model import SweepSpec
from tuner.store.folding import fold
from tuner.train.own import command

HERE = Path(__file__).parent


def command_sweep(*, limits: dict[str, Any] | None = None, **changes: Any) -> SweepSpec:
    """`own_script.py`, whose score is epoch times learning rate."""
    return SweepSpec.model_validate(
        {
            "study": "small",
            "command": f"{sys.executable} -S own_script.py {{learning_rate}} {{fault}}",
            "objective": {"metric": "score", "direction": "maximize"},
            "space": {
                "learning_rate": {"low": 1e-3, "high": 1.0},
                "fault": {"choices": ["none", "exit"], "tier": 1},
            },
            "training": {"epochs": EPOCHS},
            "limits": limits or {},
            "root": str(HERE),
            **changes,
        }
    )


def make_job(folder: Path, trial: int, *, to_epoch: int = EPOCHS, fault: str = "none") -> TrialJob:
    return TrialJob(
        trial=trial,
        params={"learning_rate": 0.01 * (trial + 1), "fault": fault},
        seed=1000 + trial,
        to_epoch=to_epoch,
        folder=str(StudyPaths(folder).trial(trial).folder),
    )


def train(executor: Executor, job: TrialJob) -> list[TrialEvent]:
    executor.submit([job])
    return drain(executor, [job])


@pytest.mark.slow
class TestContract(RealContract):
    @contextmanager
    def open(self) -> Iterator[Executor]:
        executor = InlineExecutor(command_sweep(), StudyPaths(self.folder))
        yield executor
        executor.close()

    def job(self, trial: int, *, to_epoch: int = EPOCHS, fails: bool = False) -> TrialJob:
        return make_job(self.folder, trial, to_epoch=to_epoch, fault="exit" if fails else "none")

    def test_says_what_the_task_is(self, executor: Executor) -> None:
        assert executor.facts.metric == "score"
        assert executor.facts.data == {}


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    found = InlineExecutor(command_sweep(), StudyPaths(tmp_path))
    yield found
    found.close()


@pytest.mark.parametrize(
    ("fault", "reason", "words", "retryable"),
    [
        ("exit", FailureReason.EXITED, "the command ended with exit code 1: no such luck", False),
        ("segfault", FailureReason.KILLED, "the command was killed by SIGSEGV (11)", False),
        ("killed", FailureReason.KILLED, "the command was killed by SIGKILL (9)", True),
        ("nan", FailureReason.DIVERGED, "score became nan in epoch 2", False),
        ("skips", FailureReason.ERROR, "it reported epoch 3 after epoch 1; report each epoch, counted from 1", False),
        (
            "batches", FailureReason.ERROR,
            "it reported epoch 1 twice, with score 0.5 and then 0.01; report each epoch once, at its end, and leave "
            "score out of what else you report with an epoch", False,
        ),
        (
            "silent", FailureReason.NO_REPORT,
            'the command ended without a report: it must print a line such as {"epoch": 1, "score": 0.9} after each '
            "epoch, or append it to the file $TUNER_REPORT", False,
        ),
    ],
)  # fmt: skip
def test_what_goes_wrong_with_a_program_is_said(
    executor: Executor, tmp_path: Path, fault: str, reason: FailureReason, words: str, retryable: bool
) -> None:
    end = ends(train(executor, make_job(tmp_path, 0, fault=fault)))[0]
    assert isinstance(end, TrialFailed)
    assert (end.reason, end.message, end.retryable) == (reason, words, retryable)


def test_epoch_0_is_the_value_before_training_shown_in_the_curve_and_never_ranked(
    executor: Executor, tmp_path: Path
) -> None:
    job = make_job(tmp_path, 0, fault="measures first")
    events = train(executor, replace(job, to_epoch=2)) + train(executor, job)
    assert [result.epoch for result in curve(events, 0)] == [1, 2, 3, 4]
    lines = TrialPaths(Path(job.folder)).curve.read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == ["0", "1", "2", "3", "4"]


def test_epochs_that_count_from_zero_are_told_at_the_first_pause_or_at_the_end(
    executor: Executor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said = (
        "the command ended one epoch early, and its first report was epoch 0, which stands for the network before "
        "training; epochs count from 1, the number of finished ones: report epoch + 1"
    )
    end = ends(train(executor, make_job(tmp_path, 0, fault="from zero", to_epoch=2)))[0]
    assert isinstance(end, TrialFailed)
    assert (end.reason, end.message) == (FailureReason.NO_REPORT, said)
    assert isinstance(ends(train(executor, make_job(tmp_path, 1, fault="from zero")))[1], TrialFinished)
    assert [r.getMessage() for r in caplog.records] == [f"trial 1: {said}"]


def test_reports_of_an_epoch_that_differ_by_rounding_are_one(executor: Executor, tmp_path: Path) -> None:
    job = replace(make_job(tmp_path, 0), params={"learning_rate": 0.123456, "fault": "rounds"})
    events = train(executor, job)
    assert isinstance(ends(events)[0], TrialFinished)
    assert [result.dev_metric for result in curve(events, 0)] == [0.1235, 0.2469, 0.3704, 0.4938]


def test_a_program_is_told_the_length_of_the_full_training_and_where_to_stop_this_time(tmp_path: Path) -> None:
    spec = command_sweep(command="python -S show.py {epochs} {to_epoch} {params}", root=str(tmp_path))
    (tmp_path / "show.py").write_text(
        "import os, sys\nnames = ['TUNER_EPOCHS', 'TUNER_TO_EPOCH']\n"
        "print(*sys.argv[1:3], *(os.environ[name] for name in names), file=open('shown', 'w'))\n"
        "print('epoch=1 score=1', 'epoch=2 score=1', sep='\\n')\n"
    )
    executor = InlineExecutor(spec, StudyPaths(tmp_path / "small"))
    train(executor, make_job(tmp_path / "small", 0, to_epoch=2))
    executor.close()
    assert (tmp_path / "shown").read_text().split() == [str(EPOCHS), "2", str(EPOCHS), "2"]


def test_a_trial_that_fails_before_its_first_epoch_has_taken_time(executor: Executor, tmp_path: Path) -> None:
    end = ends(train(executor, make_job(tmp_path, 0, fault="silent")))[0]
    assert isinstance(end, TrialFailed)
    running = TrialRecord(number=0, params={}, seed=0, state=TrialState.RUNNING)
    assert fold(running, end, direction=Direction.MAXIMIZE, now="").seconds > 0


@pytest.mark.parametrize(
    ("value", "command", "arguments"),
    [
        (True, "t {amp:--amp}", ["t", "--amp"]),
        (False, "t {amp:--amp} -x", ["t", "-x"]),
        (False, "t {amp:--amp|--no-amp}", ["t", "--no-amp"]),
        (True, "t amp={amp:on|off} {amp}", ["t", "amp=on", "true"]),
        ("", "t {amp} --name={amp} ''", ["t", "--name=", ""]),
    ],
)
def test_switches_are_given_or_left_out(value: bool | str, command: str, arguments: list[str]) -> None:
    assert parse_command(command).fill({"amp": value}, given={}) == arguments


@pytest.mark.parametrize("fault", ["file", "words"])
def test_reports_may_come_in_a_file_or_as_words(executor: Executor, tmp_path: Path, fault: str) -> None:
    events = train(executor, make_job(tmp_path, 0, fault=fault))
    assert isinstance(ends(events)[0], TrialFinished)
    results = [result for event in events if isinstance(event, EpochsFinished) for result in event.results]
    assert [r.dev_metric for r in results] == [epoch * 0.01 for epoch in range(1, EPOCHS + 1)]
    assert [r.dev_loss for r in results] == [1 / epoch for epoch in range(1, EPOCHS + 1)]
    assert all(math.isnan(r.train_loss) for r in results) == (fault == "words")


def test_a_program_that_ends_by_itself_has_finished_its_trial(executor: Executor, tmp_path: Path) -> None:
    end = ends(train(executor, make_job(tmp_path, 0, fault="stops")))[0]
    assert isinstance(end, TrialFinished)
    assert end.reason == "the command ended by itself after epoch 1"


UNAWARE = """
import os, pathlib, sys, time
pathlib.Path("pid").write_text(str(os.getpid()))
pathlib.Path("starts").open("a").write("x")
for epoch in range(1, 5):
    while epoch > 2 and not pathlib.Path("second").exists():
        time.sleep(0.01)
    print(f"epoch={epoch} score={epoch * float(sys.argv[1])}", flush=True)
"""
"""Knows of no pause, and waits behind epoch 2 until it may train on."""


UNAWARE_SWEEP = {"command": f"{sys.executable} -S t.py {{learning_rate}}", "space": {"learning_rate": {}}}


@pytest.fixture
def unaware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepSpec:
    monkeypatch.setattr(command, "PATIENCE_SECONDS", {**command.PATIENCE_SECONDS, "paused": 0.0})
    (tmp_path / "t.py").write_text(UNAWARE)
    return command_sweep(**UNAWARE_SWEEP, root=str(tmp_path))


@pytest.mark.parametrize("where", ["inline", pytest.param("worker", marks=pytest.mark.slow)])
def test_one_that_knows_no_pause_is_kept_stopped_and_goes_on_where_it_was(
    unaware: SweepSpec, tmp_path: Path, where: str
) -> None:
    executor: Executor = InlineExecutor(unaware, StudyPaths(tmp_path / "small"))
    if where == "worker":
        executor.close()
        executor = local_executor(unaware, tmp_path / "small")
    job = make_job(tmp_path / "small", 0, to_epoch=2)
    first = train(executor, job)
    assert isinstance(ends(first)[0], TrialPaused)
    assert eventually(lambda: state_of(int((tmp_path / "pid").read_text())) == "T")
    (tmp_path / "second").touch()
    second = train(executor, replace(job, to_epoch=4))
    assert isinstance(ends(second)[0], TrialFinished)
    assert [result.dev_metric for result in curve(second, 0)] == [0.01 * epoch for epoch in range(1, 5)]
    assert (starts(second)[0].from_epoch, (tmp_path / "starts").read_text()) == (2, "x")
    executor.close()
    assert not is_alive(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("where", ["inline", pytest.param("worker", marks=pytest.mark.slow)])
def test_one_whose_trial_is_pruned_is_ended_at_once(unaware: SweepSpec, tmp_path: Path, where: str) -> None:
    executor: Executor = InlineExecutor(unaware, StudyPaths(tmp_path / "small"))
    if where == "worker":
        executor.close()
        executor = local_executor(unaware, tmp_path / "small")
    job = make_job(tmp_path / "small", 0, to_epoch=2)
    train(executor, job)
    executor.let_go([make_job(tmp_path / "small", 7).folder])  # of which nothing is held
    pid = int((tmp_path / "pid").read_text())
    assert eventually(lambda: state_of(pid) == "T")
    executor.let_go([job.folder])
    assert eventually(lambda: not is_alive(pid))
    executor.close()


def test_one_whose_words_are_read_is_not_waited_for_at_its_first_pause(
    unaware: SweepSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "PATIENCE_SECONDS", {**command.PATIENCE_SECONDS, "paused": math.inf})
    reports = {"pattern": r"epoch=(?P<epoch>\d+) score=(?P<score>\S+)"}
    spec = command_sweep(**{**UNAWARE_SWEEP, "reports": reports}, root=str(tmp_path))
    executor = InlineExecutor(spec, StudyPaths(tmp_path / "small"))
    assert isinstance(ends(train(executor, make_job(tmp_path / "small", 0, to_epoch=2)))[0], TrialPaused)
    assert eventually(lambda: state_of(int((tmp_path / "pid").read_text())) == "T")
    executor.close()


AWARE = """
import os, pathlib, sys, time
kept = pathlib.Path(os.environ["TUNER_CHECKPOINT_DIR"]) / "epoch"
pathlib.Path("starts").open("a").write("x")
for epoch in range(int(kept.read_text()) + 1 if kept.exists() else 1, int(os.environ["TUNER_TO_EPOCH"]) + 1):
    print(f"epoch={epoch} score={epoch * float(sys.argv[1])}", flush=True)
    while epoch == 2 and not pathlib.Path("second").exists():
        time.sleep(0.01)
    kept.write_text(str(epoch))
"""
"""Ends where it is sent, but not before it may write its checkpoint."""


def test_one_that_was_stopped_on_its_way_to_its_end_at_a_pause_goes_on_from_its_checkpoint(
    unaware: SweepSpec, tmp_path: Path
) -> None:
    (tmp_path / "t.py").write_text(AWARE)
    executor = InlineExecutor(unaware, StudyPaths(tmp_path / "small"))
    job = make_job(tmp_path / "small", 0, to_epoch=2)
    assert isinstance(ends(train(executor, job))[0], TrialPaused)
    (tmp_path / "second").touch()
    events = train(executor, replace(job, to_epoch=4))
    executor.close()
    assert [result.epoch for result in curve(events, 0)] == [1, 2, 3, 4]
    assert isinstance(ends(events)[0], TrialFinished)
    assert (tmp_path / "starts").read_text() == "xx"


@pytest.mark.slow
def test_a_stopped_program_dies_with_its_worker_and_the_trial_begins_again_and_that_is_said(
    unaware: SweepSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    executor = local_executor(unaware, tmp_path / "small", workers=1)
    job = make_job(tmp_path / "small", 0, to_epoch=2)
    train(executor, job)
    pid = int((tmp_path / "pid").read_text())
    worker = executor.workers[0]
    os.kill(worker.process.pid, signal.SIGKILL)
    assert eventually(lambda: not executor.events(0.1) and worker not in executor.workers)
    assert eventually(lambda: not is_alive(pid))
    (tmp_path / "second").touch()
    with caplog.at_level(logging.WARNING):
        assert isinstance(ends(train(executor, replace(job, to_epoch=4)))[0], TrialFinished)
    executor.close()
    assert (tmp_path / "starts").read_text() == "xx"
    assert "trial 0 began again at epoch 1" in caplog.text
    assert "its process was ended with the run or the worker that kept it" in caplog.text


def test_where_memory_is_short_a_trial_is_not_paused_and_no_epoch_is_trained_twice(
    unaware: SweepSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    executor = InlineExecutor(unaware, StudyPaths(tmp_path / "small"))
    executor._task.kept.free_bytes = lambda: 0  # type: ignore[union-attr]
    job = make_job(tmp_path / "small", 0, to_epoch=2)
    executor.submit([job])
    with caplog.at_level(logging.WARNING):
        events = drain(executor, [job], until=lambda: bool(caplog.records))
        (tmp_path / "second").touch()
        events += drain(executor, [job])
    assert "there is no memory to keep its process stopped" in caplog.text
    assert isinstance(ends(events)[0], TrialFinished)
    assert ([result.epoch for result in curve(events, 0)], (tmp_path / "starts").read_text()) == ([1, 2, 3, 4], "x")
    executor.close()


def test_a_trial_that_was_given_up_at_a_pause_ends_there(unaware: SweepSpec, tmp_path: Path) -> None:
    executor = InlineExecutor(unaware, StudyPaths(tmp_path / "small"))
    job = make_job(tmp_path / "small", 0, to_epoch=2)
    train(executor, job)
    kept = executor._task.kept  # type: ignore[union-attr]
    kept._offers[job.folder].give_up()
    kept.drop(job.folder)
    end = ends(train(executor, replace(job, to_epoch=4)))[0]
    assert isinstance(end, TrialFinished)
    assert end.reason == "ended for good at epoch 2: there was no memory to keep its process stopped"
    executor.close()


@pytest.mark.slow
def test_a_restart_from_the_first_epoch_is_told_once(
    executor: Executor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for trial in (0, 1):
            train(executor, make_job(tmp_path, trial, to_epoch=2))
            for path in TrialPaths(Path(make_job(tmp_path, trial).folder)).own_checkpoint.iterdir():
                path.unlink()
            events = train(executor, make_job(tmp_path, trial))
            assert [result.epoch for result in curve(events, trial)] == list(range(1, EPOCHS + 1))
    assert [r.getMessage().split(":")[0] for r in caplog.records] == ["trial 0 began again at epoch 1"]


def test_a_program_in_a_long_epoch_is_ended_by_the_time_limit_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = InlineExecutor(command_sweep(limits={"trial_seconds": 500.0}), StudyPaths(tmp_path))
    job = make_job(tmp_path, 0, fault="hang")
    child_file = TrialPaths(Path(job.folder)).own_checkpoint / "child"

    def late_once_it_hangs() -> float:
        return time.monotonic() + (1000.0 if child_file.exists() and child_file.read_text() else 0.0)

    monkeypatch.setattr("tuner.train.own.course.time", SimpleNamespace(monotonic=late_once_it_hangs))
    end = ends(train(executor, job))[0]
    assert isinstance(end, TrialFailed)
    assert end.reason is FailureReason.TIMEOUT
    assert re.search(r"s and [01] epochs; limits.trial_seconds is 500$", end.message)
    child = int(child_file.read_text())
    assert eventually(lambda: not is_alive(child))
    executor.close()


def test_an_interrupt_ends_a_program_that_ignores_sigterm(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "TERMINATION_SECONDS", 0.1)
    job = make_job(tmp_path, 0, fault="hang")
    mark = TrialPaths(Path(job.folder)).own_checkpoint / "child"
    executor.submit([job])
    events = drain(executor, [job], until=mark.exists)
    executor.interrupt()
    events += drain(executor, [job])
    assert isinstance(ends(events)[0], TrialInterrupted)
    assert eventually(lambda: not is_alive(int(mark.read_text())))


@pytest.mark.slow
def test_a_program_dies_with_its_worker_and_goes_on_with_another(tmp_path: Path) -> None:
    """Also when the worker is killed: the kernel sees to it."""
    executor = local_executor(command_sweep(), tmp_path, workers=1)
    job = make_job(tmp_path, 0, fault="hang")
    mark = TrialPaths(Path(job.folder)).own_checkpoint / "child"
    executor.submit([job])
    events = drain(executor, [job], until=mark.exists)
    assert eventually(mark.read_text)  # type: ignore[arg-type]
    os.kill(executor.workers[0].process.pid, signal.SIGKILL)
    events += drain(executor, [job])
    end = ends(events)[0]
    assert isinstance(end, TrialFailed)
    assert end.retryable
    assert eventually(lambda: not is_alive(int(mark.read_text())))
    again = make_job(tmp_path, 0, fault="hang", to_epoch=1)
    assert [s.from_epoch for s in starts(train(executor, again))] == [1]
    executor.close()


def test_what_it_prints_is_in_its_log(executor: Executor, tmp_path: Path) -> None:
    job = make_job(tmp_path, 0)
    train(executor, job)
    text = TrialPaths(Path(job.folder)).log.read_text()
    assert text.count("a line for the log") == EPOCHS
    assert text.count('"score": 0.02') == 1


def test_no_value_becomes_more_than_one_argument(tmp_path: Path) -> None:
    """Nor is a shell asked about it."""
    hostile = '\'; touch gone; echo $(touch gone) `touch gone` "{seed}" \\'
    spec = command_sweep(
        command=f"{sys.executable} -S show.py --rate={{learning_rate}} {{fault}} {{{{}}}} {{params}} {{seed}}",
        root=str(tmp_path),
    )
    (tmp_path / "show.py").write_text(
        "import json, sys\nprint(json.dumps(sys.argv[1:]), file=open('shown.json', 'w'))\nprint('epoch=1 score=1')\n"
    )
    executor = InlineExecutor(spec, StudyPaths(tmp_path / "small"))
    train(executor, make_job(tmp_path / "small", 0, fault=hostile))
    executor.close()
    shown = (tmp_path / "shown.json").read_text()
    rate, fault, braces, params, seed = json.loads(shown)
    assert (rate, fault, braces, seed) == ("--rate=0.01", hostile, "{}", "1000")
    assert json.loads(params) == {"learning_rate": 0.01, "fault": hostile}
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"command": "pyton t.py {params}"}, "command: there is no program pyton; write its path, or install it"),
        ({"command": "python t.py {params}"}, f"command: there is no file t.py in {HERE}, where the command runs"),
        ({"folder": "nowhere"}, f"folder: there is no folder {HERE / 'nowhere'}"),
    ],
)
def test_what_is_not_there_is_said_before_a_trial_is_lost(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(UserCodeError) as found:
        InlineExecutor(command_sweep(**changes), StudyPaths(tmp_path))
    assert str(found.value) == message


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")
