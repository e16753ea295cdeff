"""Two ways to start a `tuner` command: as a user does, or quickly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 180.0


class Command(Protocol):
    """A command that was started."""

    pid: int

    def poll(self) -> int | None:
        """The exit code, -N for signal N; None while it runs."""
        ...


class Launcher(Protocol):
    """Starts commands, each the leader of its own session."""

    def __call__(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: Path, stderr: Path
    ) -> Command: ...


def launch(
    arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: Path, stderr: Path
) -> subprocess.Popen[bytes]:
    """`python -m tuner ...`, as a user starts it."""
    with stdout.open("ab") as out, stderr.open("ab") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "tuner", *arguments],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )


class Forked:
    """A command forked by the zygote."""

    def __init__(self, zygote: Zygote, pid: int) -> None:
        self.pid = pid
        self._zygote = zygote
        self._code: int | None = None

    def poll(self) -> int | None:
        if self._code is None:
            self._code = self._zygote.ask({"poll": self.pid})["code"]
        return self._code


class Zygote:
    """See `tests.reliability.zygote`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.zygote"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._read()

    def __call__(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdout: Path, stderr: Path
    ) -> Forked:
        request = {
            "run": list(arguments), "cwd": str(cwd), "env": dict(env), "stdout": str(stdout), "stderr": str(stderr),
        }  # fmt: skip
        return Forked(self, self.ask(request)["pid"])

    def ask(self, request: Mapping[str, object]) -> dict[str, int]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _read(self) -> dict[str, int]:
        assert self._process.stdout is not None
        answer: dict[str, int] = json.loads(self._process.stdout.readline())
        return answer


def wait_for(command: Command, *, seconds: float = DEADLINE_SECONDS) -> int:
    """The exit code of a command."""
    deadline = time.monotonic() + seconds
    while (code := command.poll()) is None:
        assert time.monotonic() < deadline, "the command does not end"
        time.sleep(0.02)
    return code
