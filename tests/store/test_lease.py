"""One process runs a study; the dead do not hold it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.contracts.store_contract import SPACE, train
from tests.store.processes import Elsewhere, next_line
from tests.store.studies import reopen
from tuner.errors import StorageError
from tuner.paths import StudyPaths
from tuner.records import TrialState
from tuner.store import lease as lease_module
from tuner.store.causes import LeaseLostError
from tuner.store.lease import Lease

RUNNER = """
import sys, time
from pathlib import Path
from tests.store.studies import SPACE, reopen
from tuner.paths import StudyPaths
store = reopen(StudyPaths(Path(sys.argv[1])))
store.start([(SPACE.default(), 9, "tier 1")] * 2)
print("running", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_second_process_is_told_who_runs_the_study_and_takes_over_from_the_dead(
    elsewhere: Elsewhere, paths: StudyPaths
) -> None:
    owner = elsewhere(RUNNER, paths.folder)
    assert next_line(owner) == "running\n"
    with pytest.raises(StorageError, match=rf"is run by process {owner.pid} on "):
        reopen(paths)
    owner.kill()
    owner.wait()
    with reopen(paths) as store:
        assert [(r.number, r.state) for r in store.interrupted()] == [(0, TrialState.RUNNING), (1, TrialState.RUNNING)]


def test_second_opening_in_one_process_is_refused(paths: StudyPaths) -> None:
    with reopen(paths), pytest.raises(StorageError, match="is run by"):
        reopen(paths)
    reopen(paths).close()


def test_refused_opening_gives_the_lease_back(paths: StudyPaths) -> None:
    reopen(paths).close()
    (paths.pending).mkdir()
    (paths.pending / "broken.json").write_text("{")
    with pytest.raises(StorageError, match=r"broken\.json holds no pending results"):
        reopen(paths)
    (paths.pending / "broken.json").unlink()
    reopen(paths).close()


def test_own_process_is_alive() -> None:
    assert Lease.mine().alive


def test_pid_that_was_given_out_again_is_another_process() -> None:
    assert not replace(Lease.mine(), process_started="1").alive


def test_dead_and_unreaped_processes_are_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    mine = replace(Lease.mine(), pid=process.pid, process_started=lease_module._process_started(process.pid))
    deadline = time.monotonic() + 120
    while mine.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not mine.alive  # a zombie now
    process.wait()
    assert not mine.alive


@pytest.mark.parametrize(("age_seconds", "alive"), [(0, True), (50, True), (70, False)])
@pytest.mark.parametrize("place", [{"host": "elsewhere"}, {"boot": "another/pid:[1]"}], ids=["host", "container"])
def test_process_that_cannot_be_looked_at_lives_for_a_minute(
    place: dict[str, str], age_seconds: int, alive: bool
) -> None:
    beat = (datetime.now(UTC) - timedelta(seconds=age_seconds)).isoformat()
    assert replace(Lease.mine(), beat=beat, **place).alive is alive


def test_owner_gives_signs_of_life(paths: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuner.store import claimed, writer
    from tuner.store.reader import read_study

    monkeypatch.setattr(claimed, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(writer, "BEAT_SECONDS", 0.05)
    with reopen(paths):
        first = read_study(paths, study="digits").lease
        assert first is not None
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            now = read_study(paths, study="digits").lease
            assert now is not None
            if now.beat != first.beat:
                break
            time.sleep(0.05)
        assert (now.token, now.since) == (first.token, first.since)
        assert now.beat > first.beat


def test_owner_that_was_thought_dead_writes_nothing_more(paths: StudyPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = reopen(paths)
    frozen.start([(SPACE.default(), 2, "")])
    monkeypatch.setattr(Lease, "alive", property(lambda lease: False))
    with reopen(paths) as successor:
        successor.end(0, TrialState.FAILED, "killed")
        train(frozen, 0, [0.5])
        with pytest.raises(LeaseLostError, match="was taken over by process"):
            frozen.flush()
    with pytest.raises(LeaseLostError):
        frozen.close()
    with reopen(paths) as store:
        assert store.records()[0].state is TrialState.FAILED
        assert store.records()[0].epochs == 0


def test_text_that_is_no_lease_binds_nobody() -> None:
    assert Lease.from_json("") is None
    assert Lease.from_json("null") is None
    assert Lease.from_json('{"pid": 1}') is None


def test_lease_names_host_and_process() -> None:
    mine = Lease.mine()
    assert f"process {mine.pid} on {mine.host} (since " in str(mine)
    assert Path("/proc").exists() is (mine.boot != "/")


@pytest.mark.skipif(shutil.which("ps") is None, reason="`ps` is not installed")
def test_without_a_proc_folder_ps_says_when_a_process_began() -> None:
    began = lease_module._process_started_by_ps
    assert re.search(r"\d\d:\d\d:\d\d", began(os.getpid()))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    assert began(dead.pid) == ""
