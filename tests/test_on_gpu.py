"""The command that measures on a GPU runs on a pretended one, so that no GPU's time is spent on its mistakes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pretend_cuda import HAS_GPU

ROOT = Path(__file__).parents[1]


def on_gpu(record: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """The command's end, and its record."""
    command = [sys.executable, "benchmarks/on_gpu.py", "--out", str(record), "--wheels", str(record.parent), *options]
    ended = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
    )
    return ended, json.loads(record.read_text()) if record.exists() else {}


@pytest.mark.deep
def test_every_phase_runs(tmp_path: Path) -> None:
    ended, record = on_gpu(tmp_path / "gpu.json", "--rehearse", "--seconds", "9000")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert record["what"] == "pretended, no measurement"
    phases = record["phases"]
    assert list(phases) == ["facts", "tests", "truth", "costs", "throughput", "widths", "sweeps", "out_of_memory"]
    assert {phase["ended"] for phase in phases.values()} == {"well"}
    assert phases["tests"]["tests"] > phases["tests"]["skipped"]
    assert phases["tests"]["failed"] == []
    lines = [line for phase in phases.values() for line in phase.get("figures", ())]
    verdicts = {line["what"]: line["holds"] for line in lines if "holds" in line}
    assert len(verdicts) >= 10
    assert all(verdicts.values()), verdicts
    (round_of_all,) = (line for line in phases["throughput"]["figures"] if "over" in line)
    assert set(round_of_all["ms_per_trial_epoch"]) == {"tuner", "lean", "graphed", "typical"}
    assert [line["trials"] for line in phases["sweeps"]["figures"][1:]] == [{"complete": 2}]
    refused = next(line["refused_widths"] for line in phases["out_of_memory"]["figures"])
    assert refused  # or nothing was tried


@pytest.mark.slow
def test_a_phase_that_runs_too_long_is_recorded_and_the_next_one_runs(tmp_path: Path) -> None:
    ended, record = on_gpu(tmp_path / "gpu.json", "--rehearse", "--seconds", "0.1", "--only", "truth,costs")
    assert ended.returncode == 1
    assert [phase["ended"][:12] for phase in record["phases"].values()] == ["at its limit"] * 2
    assert [phase["figures"] for phase in record["phases"].values()] == [[], []]


@pytest.mark.deep
@pytest.mark.slow
@pytest.mark.skipif(HAS_GPU, reason="there is one")
def test_nothing_is_measured_where_there_is_no_gpu(tmp_path: Path) -> None:
    ended, record = on_gpu(tmp_path / "gpu.json")
    assert (ended.returncode, record) == (2, {})
    assert "torch sees no CUDA device here" in ended.stderr
