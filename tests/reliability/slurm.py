"""A SLURM of one node on this machine, for tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.execute.processes import eventually

_CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/node.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
JobRequeue=1
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2
"""
_PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")


class Slurm:
    """A running one."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder, self._environment = folder, environment

    def submit(self, script: str, *flags: str, folder: Path, **environment: str) -> str:
        """Submit a job script; the job's number."""
        (folder / "job.sh").write_text(script)
        return self.call("sbatch", "--parsable", *flags, "job.sh", folder=folder, **environment).strip()

    def state(self, job: str) -> str:
        """The job's state, such as RUNNING."""
        said = self.call("scontrol", "--oneliner", "show", "job", job)
        return next(word for word in said.split() if word.startswith("JobState=")).removeprefix("JobState=")

    def account(self, job: str) -> str:
        """What it knows of a job and of its node, and what its programs have logged: for a test that failed."""
        logs = [f"== {out.name}\n{out.read_text()}" for out in sorted(self._folder.glob("*.out"))]
        return "\n".join([self.call("scontrol", "show", "job", job), self.call("scontrol", "show", "node"), *logs])

    def call(self, *command: str, folder: Path | None = None, **environment: str) -> str:
        done = subprocess.run(
            command, cwd=folder, env=self._environment | environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def one_node(folder: Path) -> Iterator[Slurm]:
    """Start it with all its files in a folder."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing or os.geteuid():
        pytest.skip(f"SLURM is not installed ({', '.join(missing)}), or this is not root: apt-get install slurm-wlm")
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    file, key = folder / "slurm.conf", folder / "munge.key"
    file.write_text(_CONFIGURATION.format(host=socket.gethostname().split(".")[0], folder=folder, ports=ports))
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    environment = os.environ | {"SLURM_CONF": str(file)}
    munge = ["munged", "--force", "--foreground", f"--key-file={key}", f"--socket={folder / 'munge.socket'}"]
    munge += [f"--{name}-file={folder / name}" for name in ("pid", "log", "seed")]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in (munge, ["slurmctld", "-D", "-f", str(file)], ["slurmd", "-D", "-f", str(file)]):
            with (folder / f"{command[0]}.out").open("wb") as out:
                started.append(subprocess.Popen(command, env=environment, stdout=out, stderr=out))
            if command is munge:
                assert eventually((folder / "munge.socket").exists)
        slurm = Slurm(folder, environment)
        assert eventually(lambda: _is_idle(slurm))
        yield slurm
    finally:
        for process in reversed(started):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            process.wait()


def _is_idle(slurm: Slurm) -> bool:
    try:
        return "idle" in slurm.call("sinfo", "--noheader")
    except AssertionError:  # the controller is not there yet
        return False
