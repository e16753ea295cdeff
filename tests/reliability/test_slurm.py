"""The job scripts of docs/cluster.md, as they are, on a SLURM of one node that the test starts."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.execute.processes import eventually
from tests.reliability.launch import ROOT
from tests.reliability.rig import Rig, states
from tests.reliability.slurm import Slurm, one_node
from tests.reliability.test_signals import SLOW
from tuner.records import TrialState

pytestmark = [pytest.mark.deep, pytest.mark.cluster]

PAGE = (ROOT / "docs" / "cluster.md").read_text()
SCRIPTS = [text for text in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) if "#SBATCH" in text]
SMALL = ("--nodes=1", "--cpus-per-task=1", "--time=00:30:00", "--begin=now")
PATIENCE_SECONDS = 300.0


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with one_node(tmp_path_factory.mktemp("slurm")) as slurm:
        yield slurm


@pytest.fixture
def path(tmp_path: Path) -> str:
    """With the commands of this Python first, as where the package is installed."""
    for name, module in (("tuner", "tuner"), ("ray", "ray.scripts.scripts")):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
        command.chmod(0o755)
    return f"{tmp_path / 'bin'}:{os.environ['PATH']}"


@pytest.mark.parametrize(("script", "tasks"), [(0, "--ntasks=1"), (1, "--ntasks=2")], ids=["one node", "Ray"])
def test_a_job_that_is_warned_checkpoints_and_requeues_itself_until_all_is_done(
    slurm: Slurm, rig: Rig, path: str, script: int, tasks: str
) -> None:
    assert len(SCRIPTS) == 2
    rig.sweep(**SLOW)
    each = ("--ntasks-per-node=2",) if script else ()
    job = slurm.submit(
        SCRIPTS[script], *SMALL, tasks, *each, folder=rig.folder, PATH=path, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1"
    )
    with carried_through(slurm, rig, job):
        slurm.call("scancel", "--signal=USR1", "--batch", job)


def test_a_job_that_makes_way_for_a_more_urgent_one_checkpoints_and_goes_on_behind_it(
    slurm: Slurm, rig: Rig, path: str
) -> None:
    rig.sweep(**SLOW)
    environment = {"PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    job = slurm.submit(SCRIPTS[0], *SMALL, folder=rig.folder, **environment)
    done = rig.folder / "urgent.done"
    with carried_through(slurm, rig, job):
        script = f"#!/bin/bash\nuntil [ -e {done} ]; do sleep 0.1; done\n"
        urgent = slurm.submit(script, "--partition=urgent", "--exclusive", folder=rig.folder)
        assert eventually(lambda: slurm.state(urgent) == "RUNNING", seconds=PATIENCE_SECONDS)
        done.touch()


@contextmanager
def carried_through(slurm: Slurm, rig: Rig, job: str) -> Iterator[None]:
    """Wait until a job has kept something; after the block, until it has ended cleanly, and then until it is done."""
    said = rig.folder / "sweep.log"
    try:
        assert eventually(lambda: bool(rig.checkpoints()), seconds=PATIENCE_SECONDS)
        yield
        assert eventually(lambda: "everything is kept. To go on" in said.read_text(), seconds=PATIENCE_SECONDS)
        assert TrialState.RUNNING not in states(rig)
        reached = rig.checkpoints()
        assert len(reached) > 0
        rig.hurry()
        # By default it waits two minutes, so that a node can be cleaned up. At once would be too early: a node refuses
        # what is started again within the second in which it was told to end ("credential revoked").
        assert eventually(lambda: slurm.state(job) == "PENDING", seconds=PATIENCE_SECONDS)
        slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now+3")
        assert eventually(lambda: slurm.state(job) == "COMPLETED", seconds=PATIENCE_SECONDS)
    finally:
        print(said.read_text() if said.exists() else "the job has said nothing", slurm.account(job), sep="\n")
        slurm.call("scancel", "--quiet", job)
    assert "goes on after epoch" in said.read_text()
    assert "Traceback" not in said.read_text()
    assert set(states(rig)) == {TrialState.COMPLETE}
    assert len(states(rig)) == 6
