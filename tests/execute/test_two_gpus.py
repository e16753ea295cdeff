"""A whole sweep with real workers, one for each GPU of the pretended machine."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.pretend_cuda import HAS_GPU
from tests.pretend_cuda.environment import ROOT, pretending
from tuner.paths import StudyPaths
from tuner.records import TrialRecord
from tuner.store.reader import read_study

SETTINGS = [
    "search.strategy=random", "training.epochs=3", "training.early_stopping=null", "finalists=null",
    "space.hidden_units.high=32", "space.hidden_layers.high=2",
    "space.learning_rate.high=0.05",
]  # fmt: skip
"""A search that does not ask who ended first, at rates so small that rounding is not amplified."""


def sweep(folder: Path, devices: str) -> tuple[dict[str, list[tuple[float, float]]], Sequence[TrialRecord]]:
    """Each trial's losses by epoch, and the trials, of a sweep on these devices."""
    subprocess.run(
        [sys.executable, "-m", "tuner", "run", "sweeps/digits.yaml", "-q", "-n", "6", "--devices", devices,
         "--results", folder, *(part for setting in SETTINGS for part in ("--set", setting))],
        cwd=ROOT, env=pretending(), check=True, capture_output=True, text=True,
    )  # fmt: skip
    curves = {}
    for path in sorted(folder.glob("digits/trials/*/curve.csv")):
        rows = csv.DictReader(path.read_text().splitlines())
        curves[path.parent.name] = [(float(row["train_loss"]), float(row["dev_loss"])) for row in rows]
    return curves, read_study(StudyPaths(folder / "digits"), study="digits").records


@pytest.mark.deep
@pytest.mark.skipif(HAS_GPU, reason="pretends two GPUs")
def test_a_sweep_on_two_gpus_has_the_curves_of_the_cpu(tmp_path: Path) -> None:
    """Were a graph empty, its trial would fail."""
    on_cpu, _ = sweep(tmp_path / "cpu", "cpu")
    on_gpus, trials = sweep(tmp_path / "gpus", "cuda:0,cuda:1")
    assert {trial.facts["device"] for trial in trials} == {"cuda:0", "cuda:1"}
    assert {trial.facts["path"] for trial in trials} == {"stacked"}
    assert [len(curve) for curve in on_cpu.values()] == [3] * 6
    assert on_gpus.keys() == on_cpu.keys()
    for trial, curve in on_cpu.items():
        for theirs, ours in zip(curve, on_gpus[trial], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-5)
