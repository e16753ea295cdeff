"""What users' code starts in a worker lives as it would anywhere else, and what the worker itself is spared."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.executor_contract import drain, ends
from tests.execute.processes import (
    break_down,
    end_at_once,
    eventually,
    group,
    leave_a_child,
    leave_a_fork,
    refuse_a_sweep,
    surroundings,
    want_memory,
)
from tests.execute.sweeps import local_executor, make_job, user_sweep
from tests.execute.test_local_faults import log_of
from tuner.errors import DataError, TunerError
from tuner.execute.apart import run_apart
from tuner.execute.devices import WorkerPlace
from tuner.execute.local import LocalExecutor
from tuner.execute.signals import ENDING
from tuner.records import TrialFinished

pytestmark = pytest.mark.slow

Open = Callable[..., LocalExecutor]
HERE = WorkerPlace("cpu", 1, None)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Open]:
    """Start a local executor of one worker for models of `trial_code`."""
    opened: list[LocalExecutor] = []

    def open_one(**changes: Any) -> LocalExecutor:
        opened.append(local_executor(user_sweep(**changes), tmp_path / "small", workers=1))
        return opened[-1]

    yield open_one
    for executor in opened:
        executor.close()


def test_what_a_trial_starts_can_be_terminated_and_starts_as_usual(start: Open, tmp_path: Path) -> None:
    executor = start(fault="start and terminate")
    job = make_job(tmp_path / "small", 0, l1=1e-9)
    executor.submit([job])
    assert isinstance(ends(drain(executor, [job]))[0], TrialFinished)
    said = log_of(job).splitlines()
    assert f"start method {multiprocessing.get_context().get_start_method()}" in said
    assert f"forked: {-signal.SIGTERM}" in said
    assert f"program: {-signal.SIGTERM}" in said
    assert "trap: 7" in said


def test_a_worker_leaves_the_signals_that_end_a_run_to_the_coordinator(start: Open, tmp_path: Path) -> None:
    executor = start(epochs=6, slow=0.02)
    job = make_job(tmp_path / "small", 0, to_epoch=6)
    executor.submit([job])
    events = drain(executor, [job], until=lambda: bool(executor.workers[0].jobs))
    pid = executor.workers[0].process.pid
    for number in ENDING:
        os.kill(pid, number)
    events += drain(executor, [job])
    assert isinstance(ends(events)[0], TrialFinished)
    assert executor.workers[0].process.pid == pid


def test_loading_that_hangs_ends_the_run_and_says_what_to_do(start: Open) -> None:
    executor = start(source="trial_code.py:slow_data", limits={"stall_seconds": 1})
    with pytest.raises(DataError, match=r"loading the data after 1 s; raise limits\.stall_seconds"):
        _ = executor.facts


def test_what_lies_in_the_current_folder_is_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("random", "tempfile", "tuner", "torch"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a script of the user')")
    monkeypatch.chdir(tmp_path)
    assert run_apart(os.getcwd, HERE) == str(tmp_path)
    assert "PYTHONSAFEPATH" not in os.environ


def test_a_process_apart_starts_others_as_usual() -> None:
    found = run_apart(surroundings, HERE)
    assert found == surroundings()
    assert not found[0]


def test_a_process_apart_takes_along_what_it_started(tmp_path: Path) -> None:
    pid = int(run_apart(leave_a_child, HERE))
    assert eventually(lambda: not group(pid))
    with pytest.raises(TunerError, match="exit code 3"):
        run_apart(sys.exit, HERE, 3)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (break_down, r"^the process that runs your code failed: KeyError: 'a key' \(.*processes\.py:\d+\)$"),
        (want_memory, "^there is not enough memory"),
        (end_at_once, "^the process that runs your code was killed by SIGKILL"),
        (refuse_a_sweep, "^a: one\nb: two$"),
        (leave_a_fork, "exit code 4"),
    ],
)
def test_what_goes_wrong_in_a_process_apart_is_one_message(
    work: Callable[[], None], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(TunerError, match=said):
        run_apart(work, HERE)
    assert "Traceback" not in capfd.readouterr().err


def test_what_a_process_apart_prints_is_no_output_of_the_command(capfd: pytest.CaptureFixture[str]) -> None:
    run_apart(print, HERE, "loading")
    assert capfd.readouterr().out == ""


@pytest.mark.deep
def test_a_coordinator_that_ends_while_it_asks_for_a_worker_leaves_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "ask.py").write_text(
        "import os, sys\n"
        "from multiprocessing import forkserver\n"
        "from tests.execute.sweeps import user_sweep\n"
        "from tuner.execute.fork_server import fork_server\n"
        "fork_server(user_sweep())\n"
        "told, tell = forkserver.connect_to_new_process([])\n"
        "os.close(tell)\n"
        "os.read(told, 8)  # its pid\n"
        "print(int.from_bytes(os.read(told, 8), sys.byteorder))  # its exit code\n"
    )
    rooted = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    script = [sys.executable, str(tmp_path / "ask.py")]
    done = subprocess.run(script, env=rooted, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert done.stderr == ""
