"""A run looks at the user's model once, before a trial is trained or anything is created."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tuner.cli.main import run_command_line
from tuner.paths import StudyPaths
from tuner.store.reader import read_study

pytestmark = pytest.mark.slow

SWEEP = """
study: looked
data: {source: sklearn/digits}
model: net.py:build
space:
  learning_rate: {low: 1e-3, high: 0.1}
  width: {low: 4, high: 64, tier: 2}
training: {epochs: 2, batch_size: 256}
search: {trials: 2, strategy: random}
"""
LOOKS = """
import torch
from pathlib import Path
from torch import nn

class Looked(nn.Sequential):
    def forward(self, x):
        if len(x) == 4 and self.training:  # a look asks it once in evaluation too
            with Path("looks").open("a") as file:
                file.write("x")
        return super().forward(x)
"""
GOOD = f"""{LOOKS}
def build(params, data):
    return Looked(nn.Flatten(), nn.Linear(64, params["width"]), nn.ReLU(), nn.Linear(params["width"], 10))
"""
FIVE = "from torch import nn\n\ndef build(params, data):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 5))\n"
ENGINES = ("inline", "local")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return tmp_path


def run(*flags: str, engine: str = "inline") -> int:
    workers = ["--workers", "2"] if engine == "local" else []
    return run_command_line(["run", "sweep.yaml", "-q", "--engine", engine, *workers, *flags])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_that_cannot_be_trained_ends_the_run_with_6_and_leaves_nothing(
    folder: Path, engine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "net.py").write_text(FIVE)
    assert run(engine=engine) == 6
    said = capsys.readouterr().err
    assert "net.py:build gives outputs of shape (4, 5) for 4 examples; give a logit for each class" in said
    assert "Traceback" not in said
    assert sorted(p.name for p in folder.iterdir() if p.name != "__pycache__") == ["net.py", "sweep.yaml"]


def test_it_is_looked_at_once_and_not_again_until_it_changes(folder: Path) -> None:
    (folder / "net.py").write_text(GOOD)
    assert run(engine="local") == 0
    assert (folder / "looks").read_text() == "x"  # of two workers one
    assert run("--trials", "3", engine="local") == 0
    assert (folder / "looks").read_text() == "x"
    (folder / "net.py").write_text(f"{GOOD}\n# another word\n")
    assert run("--trials", "4", engine="local") == 0
    assert (folder / "looks").read_text() == "xx"
    assert run("--fresh", engine="local") == 0
    assert (folder / "looks").read_text() == "xxx"


def test_a_model_that_was_broken_since_leaves_the_study_as_it_was(folder: Path) -> None:
    (folder / "net.py").write_text(GOOD)
    assert run(engine="local") == 0
    paths = StudyPaths((folder / "results" / "looked").resolve())
    before = read_study(paths, study="looked")
    (folder / "net.py").write_text(FIVE)
    assert run("--trials", "4", engine="local") == 6
    assert read_study(paths, study="looked") == before


def test_parameters_that_it_does_not_read_are_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "net.py").write_text(GOOD.replace('params["width"]', "16"))
    assert run(engine="local") == 0
    assert "net.py:build does not read width for the default" in caplog.text


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise ValueError('too wide')", "cannot be built: ValueError: too wide; that is so for the default"),
        ("import os; os._exit(3)", "the first look at net.py:build killed its worker: its process ended with exit"),
    ],
)
def test_one_that_fails_for_some_configurations_fails_only_their_trials(
    folder: Path, fault: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    broken = f'params, data):\n    if params["width"] > 16:\n        {fault}\n'
    (folder / "net.py").write_text(GOOD.replace("params, data):\n", broken))
    starts = "search: {trials: 2, strategy: random, start: [{width: 8}, {width: 60}]}"
    (folder / "sweep.yaml").write_text(SWEEP.replace("search: {trials: 2, strategy: random}", starts))
    assert run(engine="local") == 0
    assert said in caplog.text
    records = read_study(StudyPaths((folder / "results" / "looked").resolve()), study="looked").records
    assert [(r.params["width"], str(r.state)) for r in records] == [(8, "complete"), (60, "failed")]


def test_other_weights_to_start_from_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def save(seed: int) -> None:
        torch.manual_seed(seed)
        torch.save({"weight": torch.randn(10, 64), "bias": torch.zeros(10)}, folder / "start.pt")

    (folder / "net.py").write_text(
        "from torch import nn\n\nclass Flat(nn.Linear):\n    def forward(self, x):\n        return super().forward("
        "x.flatten(1))\n\ndef build(params, data):\n    return Flat(64, 10)\n"
    )
    (folder / "sweep.yaml").write_text(
        SWEEP.replace("model: net.py:build", "model: {kind: 'net.py:build', init_from: start.pt}").replace(
            "  width: {low: 4, high: 64, tier: 2}\n", ""
        )
    )
    save(0)
    assert run(engine="local") == 0
    assert run("--trials", "3", engine="local") == 0
    save(1)
    assert run("--trials", "4", engine="local") == 4
    assert "model.init_from: start.pt is not the file that the trials started from" in capsys.readouterr().err
