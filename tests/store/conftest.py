"""A study's folder, and a PostgreSQL server of the tests' own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.store.processes import Elsewhere, python_process
from tests.store.studies import mounts_of
from tuner.paths import StudyPaths


@pytest.fixture
def paths(tmp_path: Path) -> StudyPaths:
    return StudyPaths(tmp_path / "results" / "digits")


@pytest.fixture
def network_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the test's folder taken for a network drive."""
    monkeypatch.setenv("TUNER_MOUNTS", str(mounts_of(tmp_path, tmp_path.with_suffix(".mounts"))))


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Run scripts in processes of their own, which end with the test: see `python_process`."""
    with ExitStack() as stack:
        yield lambda script, *arguments: stack.enter_context(python_process(script, *arguments))


@dataclass(frozen=True)
class PostgresServer:
    """A running server; its files are owned by a user who is not root, as PostgreSQL demands."""

    programs: Path
    folder: Path
    port: int

    def url(self, database: str = "postgres", *, password: str = "hush") -> str:
        return f"postgresql://tuner:{password}@127.0.0.1:{self.port}/{database}"

    def control(self, action: str, *more: str) -> None:
        """Start or stop the server and wait for it."""
        options = f"-p {self.port} -k {self.folder} -h 127.0.0.1 -c fsync=off"
        arguments = ["-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", "-o", options]
        self.run("pg_ctl", action, *arguments, *more)

    def run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _programs() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    pytest.importorskip("psycopg", reason="the driver of PostgreSQL is not installed (extra: postgres)")
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL's server programs are not installed")
    folder = Path(tempfile.mkdtemp(prefix="tuner-pg-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    server = PostgresServer(programs, folder, port)
    password = folder / "password"
    password.write_text("hush\n")
    password.chmod(0o644)
    server.run("initdb", "-D", str(folder / "data"), "-U", "tuner", "-A", "scram-sha-256", f"--pwfile={password}", "-N")
    server.control("start")
    try:
        yield server
    finally:
        server.control("stop", "-m", "immediate")
        shutil.rmtree(folder)
