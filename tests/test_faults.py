"""The fault points themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import tuner
from tuner.faults import POINTS

PASS_TWICE = "from tuner.faults import fault_point; [print(i, flush=fault_point('after_tell')) for i in range(2)]"


def run(fault: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PASS_TWICE],
        env={**os.environ, "TUNER_FAULT": fault},
        cwd=Path(tuner.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_process_dies_at_the_point_when_it_is_passed_so_often() -> None:
    assert (run("").returncode, run("before_tell:1").returncode) == (0, 0)
    assert run("after_tell").returncode == run("after_tell:2").returncode == -signal.SIGKILL
    assert run("after_tell:3").stdout == "0\n1\n"


def test_a_point_that_does_not_exist_is_no_silent_success() -> None:
    assert "no fault point: after_tel" in run("after_tel:1").stderr


def test_every_point_is_passed_somewhere() -> None:
    code = "".join(path.read_text() for path in Path(tuner.__file__).parent.rglob("*.py"))
    assert [point for point in POINTS if f'fault_point("{point}")' not in code] == []
