"""Whole sweeps on labels and on folds, from the file to the test set: run, best, its proof, the loader, test."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from tuner.cli.main import run_command_line

pytestmark = pytest.mark.usefixtures("quick_apart")

SWEEP = """\
study: tags
data: {source: tags.npz}
model: {kind: mlp, hidden_units: 16}
space: {learning_rate: {choices: [0.003, 0.03]}}
training: {optimizer: adam, epochs: 4}
search: {trials: 2, strategy: grid, pruner: none}
"""


@pytest.mark.slow
def test_a_sweep_on_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(400, 6)).astype(np.float32)
    y = (x @ random.normal(size=(6, 3)) > [0.0, 0.5, 2.0]).astype(np.int64)
    np.savez(tmp_path / "tags.npz", x=x, y=y)
    (tmp_path / "s.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["run", "s.yaml", "--engine", "inline", "--json"]) == 0
    capsys.readouterr()
    board = json.loads(Path("results/tags/leaderboard.json").read_text())
    assert "f1" in json.dumps(board)
    assert run_command_line(["best", "tags", "--verify"]) == 0
    assert "verified: weights.pt" in "".join(capsys.readouterr())
    assert run_command_line(["test", "tags"]) == 0
    assert "f1" in capsys.readouterr().out
    sys.modules.pop("predict", None)
    runpy.run_path("results/tags/best/predict.py", run_name="__main__")
    assert capsys.readouterr().out.startswith("dev subset_accuracy 0.")


FOLDED = """\
study: folded
data: {source: sklearn/wine, folds: 4}
model: {kind: mlp, hidden_units: 16}
space: {learning_rate: {choices: [0.003, 0.03]}}
training: {optimizer: adam, epochs: 5}
search: {trials: 2, strategy: grid, pruner: none}
"""


@pytest.mark.slow
def test_a_cross_validated_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text(FOLDED)
    monkeypatch.chdir(tmp_path)
    assert run_command_line(["run", "s.yaml", "--engine", "inline", "--json"]) == 0
    assert run_command_line(["best", "folded", "--verify"]) == 0
    assert "verified: weights.pt" in "".join(capsys.readouterr())
    page = Path("results/folded/report.html").read_text()
    assert "A score is the mean of 4 folds" in page
    runpy.run_path("results/folded/best/predict.py", run_name="__main__")
    assert capsys.readouterr().out.startswith("dev accuracy 0.")
    assert run_command_line(["test", "folded"]) == 0
    assert "35 examples" in capsys.readouterr().out
