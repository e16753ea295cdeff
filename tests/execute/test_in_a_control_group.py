"""Runs in a real control group, as a container is: where its memory ends, the line that is said, and what then fits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.execute.processes import eventually
from tuner.execute.control_groups import MEMBERSHIP, ROOT

pytestmark = [pytest.mark.deep, pytest.mark.slow]

LIMIT_BYTES = 900_000_000
"""What a small run takes with one worker fits well; what these cases ask for does not."""


@pytest.fixture
def group() -> Iterator[Path]:
    """A new group of processes with that limit, in whichever version there is."""
    found = _new_group()
    if found is None:
        pytest.skip("control groups cannot be made here: it takes root, and a hierarchy that limits memory")
    yield found
    assert eventually(lambda: not (found / "cgroup.procs").read_text())  # what a run leaves ends by itself
    found.rmdir()


def _new_group() -> Path | None:
    """Below the root in version 2, whose groups hold processes or groups; below this process's own in version 1."""
    own = next((line.split(":", 2)[2] for line in MEMBERSHIP.read_text().splitlines() if ":memory:" in line), "/")
    for parent, file in (
        (ROOT, "memory.max"),
        (ROOT / "memory" / own.lstrip("/"), "memory.limit_in_bytes"),
        (ROOT / "memory", "memory.limit_in_bytes"),
    ):
        made = parent / f"tuner-test-{os.getpid()}"
        with suppress(OSError):
            made.mkdir()
            if (made / file).exists():  # or else it is a folder like any other
                (made / file).write_text(str(LIMIT_BYTES))
                for swap, most in (("memory.swap.max", 0), ("memory.memsw.limit_in_bytes", LIMIT_BYTES)):
                    with suppress(OSError):  # there is no such thing, or no swap
                        (made / swap).write_text(str(most))
                return made
            made.rmdir()
    return None


def run_in(group: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command of tuner, all of whose processes are in the group."""
    enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
    command = ["sh", "-c", enter, "sh", sys.executable, "-m", "tuner", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)


def write_sweep(folder: Path, *, stream: bool = False, **model: Any) -> None:
    spec = {
        "study": "s",
        "data": {"source": "rows.npz", "stream": stream},
        "model": {"kind": "mlp", **model},
        "space": {"learning_rate": {"low": 1e-4, "high": 1e-2}},
        "training": {"optimizer": "adam", "epochs": 1, "batch_size": 64},
        "search": {"trials": 1, "strategy": "random"},
        "limits": {"retries": 0},
        "finalists": None,
        "baselines": "off",
    }
    (folder / "sweep.yaml").write_text(json.dumps(spec))


def write_rows(folder: Path, *, count: int) -> None:
    x = np.random.default_rng(0).normal(size=(count, 16)).astype(np.float32)
    np.savez(folder / "rows.npz", x=x, y=(x[:, 0] > 0).astype(np.int64))


def test_data_that_do_not_fit_name_the_container_and_what_takes_less(group: Path, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "rows.npz", x=np.zeros((2_000_000, 64)), y=np.arange(2_000_000) % 2)
    write_sweep(tmp_path)
    done = run_in(group, tmp_path, "run", "sweep.yaml", "--workers", "2")
    assert done.returncode == 3
    error = done.stderr.splitlines()[-1]
    for part in ("not enough memory to load rows.npz", "(its control group) has 0.9 GB", "data.stream: true"):
        assert part in error
    assert "--workers 1" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_check_says_the_same(group: Path, tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "rows.npz", x=np.zeros((2_000_000, 64)), y=np.arange(2_000_000) % 2)
    write_sweep(tmp_path)
    done = run_in(group, tmp_path, "check", "sweep.yaml")
    assert done.returncode == 1
    for part in ("by the kernel, since memory had come to its end", "(its control group) has 0.9 GB", "stream: true"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_a_network_that_does_not_fit_names_the_container_and_a_smaller_one_fits(group: Path, tmp_path: Path) -> None:
    write_rows(tmp_path, count=400)
    write_sweep(tmp_path, hidden_layers=4, hidden_units=6000)
    done = run_in(group, tmp_path, "run", "sweep.yaml", "--workers", "1")
    assert done.returncode != 0
    for part in ("memory", "(its control group) has 0.9 GB", "a smaller batch_size or network"):
        assert part in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    write_sweep(tmp_path, hidden_layers=1, hidden_units=16)
    assert run_in(group, tmp_path, "run", "sweep.yaml", "--workers", "1", "--fresh").returncode == 0
