"""Disks and databases that fail under a run."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.depth import but_deep
from tests.reliability.rig import Rig, small_disk, states
from tests.reliability.test_signals import SLOW
from tuner.records import TrialState

pytestmark = pytest.mark.slow

PATIENT = {**SLOW, "search": {"trials": 3, "strategy": "random"}}
"""Trials that write checkpoints, and do not end before they are let."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk")


@pytest.fixture
def on_small_disk(quick_rig: Rig) -> Iterator[Rig]:
    with small_disk(quick_rig.folder / "results", mebibytes=8):
        yield quick_rig


@needs_root
@pytest.mark.parametrize("engine", but_deep(["inline", "local"], "local"))
def test_a_disk_that_fills_ends_the_run_with_5_and_with_room_it_goes_on(quick_rig: Rig, engine: str) -> None:
    with small_disk(quick_rig.folder / "results", mebibytes=8):
        quick_rig.sweep(**PATIENT)
        run = quick_rig.start(engine=engine)
        quick_rig.wait_until(lambda: bool(quick_rig.checkpoints()))
        with quick_rig.fill_disk():
            assert run.wait() == 5
            assert "disk full" in run.err
            assert "Traceback" not in run.err
            assert quick_rig.command("report", "study")[0] == 0
            stands = r"state     (stopped|interrupted): disk full"
            assert re.search(stands, quick_rig.command("status", "study")[1])
        assert TrialState.FAILED not in states(quick_rig)
        quick_rig.hurry()
        quick_rig.resume(engine=engine)
        assert any(place > (0, 0) for place in quick_rig.last.went_on.values())
        quick_rig.audit(complete=True)


@needs_root
def test_a_disk_that_is_full_before_the_first_trial_finishes_nothing(on_small_disk: Rig) -> None:
    rig = on_small_disk
    rig.sweep(search={"trials": 2, "strategy": "random"})
    assert rig.start(fault="after_claim").wait() == -9  # there is a study, of which nothing is known yet
    with rig.fill_disk():
        run = rig.start()
        assert run.wait() == 5
        assert "disk full" in run.err
        assert "state     stopped" in rig.command("status", "study")[1]
    rig.resume()
    assert "state     finished: all 2 trials\n" in rig.command("status", "study")[1]


@pytest.mark.parametrize("what", but_deep(["database", "folder"], "folder"))
def test_a_study_that_is_removed_under_a_run_ends_it_at_the_next_write(quick_rig: Rig, what: str) -> None:
    rig = quick_rig
    rig.sweep(training={"epochs": 1_000_000, "batch_size": 128}, search={"trials": 2, "strategy": "random"})
    run = rig.start()
    rig.wait_until(lambda: bool(rig.checkpoints()))
    if what == "database":
        rig.paths.database.unlink()
    else:
        rig.paths.folder.rename(rig.folder / "moved")
    assert run.wait(seconds=60) == 5
    assert "study.db was removed or replaced during the run, so there is nothing to go on with" in run.err
    assert "is kept in" not in run.err
    assert not rig.paths.pending.exists()


@needs_root
def test_on_a_read_only_disk_reports_work_and_a_run_ends_with_5_before_any_trial(on_small_disk: Rig) -> None:
    rig = on_small_disk
    rig.sweep(search={"trials": 3, "strategy": "random"})
    rig.resume()
    disk = str(rig.folder / "results")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    try:
        for command in ("status", "report", "best"):
            code, _, err = rig.command(command, "study")
            assert code == 0, err
        run = rig.start("--trials", "5")
        assert run.wait() == 5
        assert "read-only" in run.err
        assert len(rig.records()) == 3
    finally:
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)


def test_a_lock_of_another_program_is_waited_for(quick_rig: Rig) -> None:
    quick_rig.sweep(**PATIENT)
    run = quick_rig.start()
    quick_rig.wait_until(lambda: quick_rig.paths.database.exists() and TrialState.RUNNING in states(quick_rig))
    with quick_rig.lock_db():
        quick_rig.wait_until("cannot be written now")
        quick_rig.hurry()
        time.sleep(1.0)
        assert run.alive
    assert run.wait() == 0
    assert run.err.count("cannot be written now") == 1
    quick_rig.audit(complete=True)


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(quick_rig: Rig, tmp_path: Path) -> None:
    rig = quick_rig
    rig.sweep(**{**PATIENT, "search": {"trials": 1, "strategy": "random"}})
    run = rig.start()
    damaged = rig.paths.trial(0)
    rig.wait_until(damaged.previous_checkpoint.exists)
    rig.kill("coordinator")
    assert run.wait() == -9
    whole, previous = damaged.checkpoint.read_bytes(), damaged.previous_checkpoint.read_bytes()
    last = rig.checkpoints()[0]
    proof = tmp_path / "code ran"
    for harm in harmed(whole, proof):
        damaged.checkpoint.write_bytes(harm)
        damaged.previous_checkpoint.write_bytes(previous)
        run = rig.start()
        rig.wait_until("trial 0 goes on after epoch")
        rig.kill("coordinator")
        assert run.wait() == -9
        assert (0, 0) < run.went_on[0] < last
        assert "0000/checkpoint.pt is damaged" in re.sub(r"\s", "", run.err).replace("isdamaged", " is damaged")
        assert not proof.exists()


def harmed(checkpoint: bytes, proof: Path) -> Iterator[bytes]:
    """A checkpoint that was cut, emptied, changed by a bit, or forged."""
    yield checkpoint[: len(checkpoint) // 2]
    yield b""
    content = bytearray(checkpoint)
    content[len(content) // 2] ^= 1
    yield bytes(content)
    body = pickle.dumps(Hostile(str(proof)))
    yield b"tuner-checkpoint-1 " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


class Hostile:
    """Makes a file when it is unpickled without care."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, int]]:
        return os.open, (self.path, os.O_CREAT | os.O_WRONLY)
