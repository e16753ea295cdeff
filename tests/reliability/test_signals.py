"""Runs that are asked to end, and processes that are killed, as users and schedulers do it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
from pathlib import Path

import pytest

from tests.depth import but_deep
from tests.execute.processes import eventually, group
from tests.reliability.launch import launch, wait_for
from tests.reliability.rig import MARK, Rig, states
from tuner.records import TrialState

pytestmark = pytest.mark.slow

CODE = Path(__file__).parents[1] / "execute" / "trial_code.py"
SLOW = {
    "model": {"kind": f"{CODE}:build", "slow": 0.05, "hurry": "hurry"},
    "space": {"learning_rate": {"low": 1e-3, "high": 0.1}},
    "training": {"epochs": 40, "batch_size": 256},
    "search": {"trials": 6, "strategy": "random"},
}
"""Trials that take at least ten seconds each, on any machine, unless `Rig.hurry` is called."""
ENDLESS = {**SLOW, "training": {"epochs": 10_000, "batch_size": 256}}
NUM_STEPS = 1078
"""Of an epoch of `long_epochs`: the training examples of the digits."""


def long_epochs(hurry: Path) -> dict[str, object]:
    """Two trials of one epoch that takes some minutes, until the file is there."""
    return {
        **SLOW,
        "model": {"kind": f"{CODE}:build", "slow": 0.1, "hurry": str(hurry)},
        "training": {"epochs": 1, "batch_size": 1, "fuse": "off"},
        "search": {"trials": 2, "strategy": "random"},
    }


def test_sigterm_checkpoints_and_ends_with_143_and_the_next_run_goes_on(quick_rig: Rig) -> None:
    quick_rig.sweep(**SLOW)
    run = quick_rig.start("--fresh", "--set", "search.seed=0", engine="local")
    quick_rig.wait_until(lambda: bool(quick_rig.checkpoints()))
    workers = quick_rig.workers()
    quick_rig.kill("session", signal.SIGTERM)  # as SLURM does: to all of the job's processes
    assert run.wait() == 143
    assert "stopping" in run.err
    again = "tuner run sweep.yaml --engine local --set search.seed=0"
    assert f"everything is kept. To go on: {again}\n" in run.err
    assert f"{again}   (goes on from the last checkpoints)" in quick_rig.command("status", "study")[1]
    assert eventually(lambda: not any(group(pid) for pid in workers))
    quick_rig.audit()
    assert TrialState.RUNNING not in states(quick_rig)
    reached = quick_rig.checkpoints()
    assert len(reached) == states(quick_rig).count(TrialState.PAUSED) > 0
    quick_rig.hurry()
    quick_rig.resume("--set", "search.seed=0", engine="local")
    assert quick_rig.last.went_on == reached
    quick_rig.audit(complete=True)


@pytest.mark.parametrize("number", but_deep([signal.SIGTERM, signal.SIGHUP], signal.SIGHUP))
def test_a_study_is_finished_when_its_finalists_are(quick_rig: Rig, number: signal.Signals) -> None:
    rig = quick_rig
    two = {**SLOW, "search": {"trials": 2, "strategy": "random"}}
    rig.sweep(**two)
    rig.hurry()
    rig.resume()
    (rig.folder / "hurry").unlink()
    rig.sweep(**two, finalists={"count": 2, "seeds": 3})
    run = rig.start()
    rig.wait_until("training the best 2 trials again")
    rig.kill("coordinator", number)
    assert run.wait() == 128 + number
    said = rig.command("status", "study")[1]
    assert re.search(rf"state     (stopped|interrupted): {number.name}\n", said)
    assert re.search(
        r"tuner run sweep.yaml --engine inline   \(trains the finalists that are left, \d of 6 are done\)", said
    )
    rig.hurry()
    rig.resume()
    assert "finished: all 2 trials\n" in rig.last.err
    said = json.loads(rig.command("status", "study", "--json")[1])
    assert (said["state"], said["reason"], said["finalists"]) == ("finished", "all 2 trials", 6)
    assert "The search has ended: all 2 trials." in rig.command("report", "study", "--format", "markdown")[1]
    rig.audit(complete=True)


def test_an_interrupted_confirmation_says_so_and_how_to_go_on(quick_rig: Rig) -> None:
    quick_rig.sweep(**{**SLOW, "search": {"trials": 1}})
    quick_rig.hurry()
    quick_rig.resume()
    (quick_rig.folder / "hurry").unlink()
    confirm = ["confirm", "sweep.yaml", "--top", "1", "--seeds", "50", "--workers", "1"]
    stdout, stderr = quick_rig.folder / "confirm.out", quick_rig.folder / "confirm.err"
    run = quick_rig.launcher(
        confirm, cwd=quick_rig.folder, env={MARK: str(quick_rig.folder)}, stdout=stdout, stderr=stderr
    )
    assert eventually(lambda: bool(list(quick_rig.paths.finalists.rglob("checkpoint.pt"))))
    os.kill(run.pid, signal.SIGINT)
    assert wait_for(run) == 130
    assert f"interrupted; everything is kept. To go on: tuner {' '.join(confirm)}\n" in stderr.read_text()


def test_sigterm_in_a_long_epoch_ends_in_seconds_and_no_step_is_trained_twice(quick_rig: Rig, tmp_path: Path) -> None:
    quick_rig.sweep(**long_epochs(tmp_path / "hurry"))
    run = quick_rig.start(engine="local")
    quick_rig.wait_until(lambda: len(quick_rig.checkpoints()) == 2)
    quick_rig.kill("session", signal.SIGTERM)
    assert run.wait() == 143
    assert "did not end in time" not in run.err
    quick_rig.audit()
    assert states(quick_rig) == [TrialState.PAUSED] * 2
    reached = quick_rig.checkpoints()
    assert all(epoch == 0 < step < NUM_STEPS for epoch, step in reached.values())
    (tmp_path / "hurry").touch()
    quick_rig.resume(engine="local")
    assert quick_rig.last.went_on == reached
    assert (tmp_path / "hurry").stat().st_size == sum(NUM_STEPS - step for _, step in reached.values())
    quick_rig.audit(complete=True)


def test_a_kill_in_a_long_epoch_costs_the_steps_since_the_last_checkpoint(quick_rig: Rig, tmp_path: Path) -> None:
    quick_rig.sweep(**long_epochs(tmp_path / "hurry"))
    run = quick_rig.start(engine="local")
    quick_rig.wait_until(lambda: [step > 20 for _, step in quick_rig.checkpoints().values()] == [True, True])
    quick_rig.kill("coordinator")
    assert run.wait() == -9
    quick_rig.audit()
    reached = quick_rig.checkpoints()
    (tmp_path / "hurry").touch()
    quick_rig.resume(engine="local")
    assert quick_rig.last.went_on == reached
    assert (tmp_path / "hurry").stat().st_size == sum(NUM_STEPS - step for _, step in reached.values())
    quick_rig.audit(complete=True)


def test_the_first_ctrl_c_ends_cleanly_with_130_and_the_second_at_once(quick_rig: Rig) -> None:
    rig = quick_rig
    rig.sweep(**SLOW)
    run = rig.start(engine="local")
    rig.wait_until(lambda: bool(rig.checkpoints()))
    rig.kill("coordinator", signal.SIGINT)
    assert run.wait() == 130
    rig.audit()
    assert TrialState.RUNNING not in states(rig)

    rig.sweep(**{**ENDLESS, "model": {"kind": f"{CODE}:build", "slow": 600, "hurry": "hurry"}})
    rig.hurry()
    run = rig.start("--fresh", engine="local")
    rig.wait_until(lambda: rig.has_fork_server and TrialState.RUNNING in states(rig) and bool(rig.checkpoints()))
    (rig.folder / "hurry").unlink()
    workers = rig.workers()
    rig.kill("coordinator", signal.SIGINT)
    rig.wait_until("stopping")
    rig.kill("coordinator", signal.SIGINT)
    assert run.wait() == 130
    assert "did not end in time" not in run.err  # as it would after a first signal alone
    assert "Traceback" not in run.err
    assert eventually(lambda: not any(group(pid) for pid in workers))


def test_ctrl_c_before_the_first_trial_ends_at_once(quick_rig: Rig) -> None:
    quick_rig.sweep(data={"source": f"{CODE}:slow_data"})
    run = quick_rig.start(engine="local")
    quick_rig.wait_until(lambda: bool(quick_rig.has_fork_server and quick_rig.workers()))
    quick_rig.kill("coordinator", signal.SIGINT)
    assert run.wait() == 130
    assert "Traceback" not in run.err
    assert not quick_rig.paths.database.exists()


def test_a_time_limit_ends_cleanly_with_0(quick_rig: Rig) -> None:
    quick_rig.sweep(**ENDLESS)
    run = quick_rig.start("--time", "8s")
    assert run.wait() == 0
    assert "out of time; everything is kept" in run.err
    quick_rig.audit()
    assert set(states(quick_rig)) <= {TrialState.PAUSED}


def test_a_second_run_says_who_runs_the_study_and_changes_nothing(quick_rig: Rig) -> None:
    quick_rig.sweep(**ENDLESS)
    first = quick_rig.start(engine="local")
    quick_rig.wait_until(lambda: bool(quick_rig.checkpoints()))
    for flags in ((), ("--fresh",)):
        folders = sorted(path.name for path in quick_rig.paths.folder.iterdir() if path.is_dir())
        second = quick_rig.start(*flags)
        assert second.wait() == 5
        assert f"process {first.pid} on" in second.err
        assert sorted(path.name for path in quick_rig.paths.folder.iterdir() if path.is_dir()) == folders
    os.kill(first.pid, signal.SIGTERM)
    assert first.wait() == 143
    quick_rig.audit()


def test_a_killed_coordinator_takes_its_workers_along_and_loses_nothing(quick_rig: Rig) -> None:
    quick_rig.sweep(**SLOW)
    run = quick_rig.start(engine="local")
    quick_rig.wait_until(lambda: bool(quick_rig.checkpoints()))
    workers = quick_rig.workers()
    quick_rig.kill("coordinator")
    assert run.wait() == -9
    assert eventually(lambda: not any(group(pid) for pid in workers))
    quick_rig.audit()
    assert TrialState.RUNNING in states(quick_rig)
    quick_rig.hurry()
    quick_rig.resume(engine="local")
    assert quick_rig.last.went_on
    quick_rig.audit(complete=True)


@pytest.mark.parametrize("role", but_deep(["worker", "fork server"], "fork server"))
def test_a_run_survives_the_death_of_what_it_started(quick_rig: Rig, role: str) -> None:
    quick_rig.sweep(**SLOW)
    run = quick_rig.start(engine="local")
    quick_rig.wait_until(lambda: bool(quick_rig.checkpoints()))
    quick_rig.kill(role)
    quick_rig.hurry()
    assert run.wait() == 0
    if role == "worker":
        assert re.search(r"worker \d was lost with \d trials in training|trial \d+ is tried again", run.err)
    assert states(quick_rig) == [TrialState.COMPLETE] * quick_rig.trials
    quick_rig.audit(complete=True)


@pytest.mark.deep
def test_a_closed_terminal_ends_a_run_as_sigterm_does(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    terminal = Path(os.ttyname(theirs))
    rig = Rig(tmp_path / "study")
    rig.sweep(**SLOW)
    command = launch(["run", "sweep.yaml"], cwd=rig.folder, env={}, stdout=terminal, stderr=terminal)
    os.close(theirs)
    try:
        assert eventually(lambda: _shown(ours) and bool(rig.checkpoints()), seconds=120.0)
        os.close(ours)
        os.killpg(command.pid, signal.SIGHUP)
        assert wait_for(command) == 129
    finally:
        if command.poll() is None:
            os.killpg(command.pid, signal.SIGKILL)
    assert not group(command.pid)
    assert TrialState.RUNNING not in states(rig)
    assert states(rig).count(TrialState.PAUSED) == len(rig.checkpoints()) > 0


def _shown(terminal: int) -> bool:
    """Read what is there, or the program would wait for room; True."""
    while select.select([terminal], [], [], 0.0)[0]:
        os.read(terminal, 65536)
    return True
