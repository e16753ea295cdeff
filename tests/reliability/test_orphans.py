"""No process is left behind: not by a command that is killed, and not by one that ends by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.execute.processes import eventually, group, marked, state_of
from tests.reliability.launch import ROOT, launch, wait_for
from tests.reliability.rig import MARK, Rig
from tests.reliability.test_signals import SLOW
from tuner.execute.signals import ENDING

pytestmark = pytest.mark.slow

DATA = """
import os, pathlib, subprocess, time
from sklearn.datasets import load_digits

HERE = pathlib.Path(__file__).parent

def load():
    if (HERE / "hang").exists():
        subprocess.Popen(["sleep", "600"])
        (HERE / "hangs.tmp").write_text(str(os.getpid()))
        (HERE / "hangs.tmp").replace(HERE / "hangs")
        time.sleep(600)
    return load_digits(return_X_y=True)
"""
SECOND_HANGS = """
import os, pathlib, time
from sklearn.datasets import load_iris

HERE = pathlib.Path(__file__).parent

def load():
    if (HERE / "loaded").exists():
        (HERE / "hangs.tmp").write_text(str(os.getpid()))
        (HERE / "hangs.tmp").replace(HERE / "hangs")
        time.sleep(600)
    (HERE / "loaded").touch()
    return load_iris(return_X_y=True)
"""
APART = """
import sys
from tests.execute.processes import say_and_sleep
from tuner.execute.apart import run_apart
from tuner.execute.devices import WorkerPlace
if __name__ == "__main__":
    run_apart(say_and_sleep, WorkerPlace("cpu", 1, None), sys.argv[1])
"""


@pytest.fixture
def left(tmp_path: Path) -> Iterator[list[int]]:
    """Process ids to be killed if the test fails."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        for member in group(pid):
            os.kill(member, signal.SIGKILL)


@pytest.mark.parametrize("number", [*ENDING, signal.SIGKILL])
def test_work_apart_ends_with_whoever_wanted_it(tmp_path: Path, left: list[int], number: signal.Signals) -> None:
    script, said = tmp_path / "wants.py", tmp_path / "said"
    script.write_text(APART)
    with subprocess.Popen(
        [sys.executable, str(script), str(said)], env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
    ) as wants:
        try:
            assert eventually(said.exists, seconds=60.0)
            left.append(int(said.read_text()))
            assert len(group(left[0])) == 2
            wants.send_signal(number)
            assert wants.wait(60.0) in (-number, 128 + number)
        finally:
            wants.kill()
    assert eventually(lambda: not group(left[0]), seconds=5.0)


@pytest.mark.parametrize(
    ("arguments", "number"),
    [
        (("best", "sweep.yaml", "--verify"), signal.SIGKILL),
        pytest.param(("test", "sweep.yaml"), signal.SIGKILL, marks=pytest.mark.deep),
        pytest.param(("best", "sweep.yaml", "--verify"), signal.SIGTERM, marks=pytest.mark.deep),
        pytest.param(("check", "sweep.yaml"), signal.SIGHUP, marks=pytest.mark.deep),
        pytest.param(("lr-find", "sweep.yaml"), signal.SIGUSR1, marks=pytest.mark.deep),
        pytest.param(("confirm", "sweep.yaml", "--workers", "1"), signal.SIGTERM, marks=pytest.mark.deep),
    ],
    ids=str,
)
def test_a_command_that_is_killed_takes_its_process_along(
    quick_rig: Rig, left: list[int], arguments: tuple[str, ...], number: signal.Signals
) -> None:
    rig = quick_rig
    (rig.folder / "mine.py").write_text(DATA)
    rig.sweep(data={"source": "mine.py:load"}, search={"trials": 1})
    rig.resume()
    (rig.folder / "hang").touch()
    said = rig.folder / "hangs"
    command = launch(
        arguments, cwd=rig.folder, env={MARK: str(rig.folder)}, stdout=rig.folder / "out", stderr=rig.folder / "err"
    )
    assert eventually(said.exists, seconds=120.0), (rig.folder / "err").read_text()
    left.append(int(said.read_text()))
    os.kill(command.pid, number)
    assert abs(wait_for(command)) in (number, 128 + number)
    assert eventually(lambda: not marked(f"{MARK}={rig.folder}"), seconds=60.0)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.deep)])
def test_baselines_end_with_the_run_that_wanted_them(quick_rig: Rig, left: list[int], number: signal.Signals) -> None:
    rig = quick_rig
    (rig.folder / "mine.py").write_text(SECOND_HANGS)
    rig.sweep(data={"source": "mine.py:load"}, search={"trials": 1}, baselines=["guess"])
    run = rig.start("--workers", "1", engine="local")
    said = rig.folder / "hangs"
    assert eventually(said.exists)
    left.append(int(said.read_text()))
    rig.kill("coordinator", number)
    run.wait()
    assert eventually(lambda: not group(left[0]), seconds=60.0)
    assert eventually(lambda: not marked(f"{MARK}={rig.folder}"), seconds=60.0)


UNAWARE = """
import os, pathlib, time
pathlib.Path(f"pid-{os.getpid()}").touch()
for epoch in range(1, 7):
    print(f"epoch={epoch} accuracy={epoch / 10}", flush=True)
    time.sleep(0 if epoch < 2 else 600)
"""
"""Knows of no pause, and would train its third epoch for ever."""


def test_programs_that_are_kept_stopped_end_with_a_run_that_is_killed(quick_rig: Rig) -> None:
    rig = quick_rig
    (rig.folder / "t.py").write_text(UNAWARE)
    (rig.folder / "sweep.yaml").write_text(
        f"study: study\ncommand: {sys.executable} -S t.py {{learning_rate}}\nobjective: {{metric: accuracy}}\n"
        "space: {learning_rate: {}}\ntraining: {epochs: 6}\nsearch: {trials: 9}\n"
    )
    run = rig.start("--workers", "1", engine="local")

    def stopped() -> list[int]:
        pids = [int(path.name.removeprefix("pid-")) for path in rig.folder.glob("pid-*")]
        return [pid for pid in pids if state_of(pid) == "T"]

    assert eventually(lambda: len(stopped()) >= 2, seconds=60.0), run.err
    kept = stopped()
    rig.kill("coordinator")
    run.wait()
    assert eventually(lambda: not any(map(state_of, kept)), seconds=60.0)
    assert eventually(lambda: not marked(f"{MARK}={rig.folder}"), seconds=60.0)


@pytest.mark.deep
@pytest.mark.parametrize("ending", ["by itself", "by a signal"])
def test_nothing_of_a_run_is_left_when_its_command_returns(rig: Rig, ending: str) -> None:
    rig.sweep(**{**SLOW, "search": {"trials": 1 if ending == "by itself" else 6}})
    run = rig.start(engine="local")
    if ending == "by a signal":
        rig.wait_until(lambda: bool(rig.checkpoints()))
        rig.kill("coordinator", signal.SIGTERM)
    run.wait()
    assert rig.processes() == []
