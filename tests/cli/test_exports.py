"""What leaves tuner answers as what was ranked, is checked by `--verify`, and says why it is not a traced program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.depth import but_deep
from tuner.cli.main import run_command_line
from tuner.errors import TunerError
from tuner.paths import StudyPaths
from tuner.records import TrainedTrial
from tuner.spec.reader import read_sweep
from tuner.store.reader import read_study
from tuner.train.after.exported import check_export

NET = """
import torch
from layers import Doubled

class Net(torch.nn.Module):
    def __init__(self, params, data):
        super().__init__()
        self.signs = torch.randn(data.input_shape[0]).sign()
        self.register_buffer("mix", torch.randn(data.input_shape[0], 8) * 0.3, persistent=False)
        self.last = torch.nn.LazyLinear(data.num_outputs)
        self.both, self.passes = Doubled(), 0

    def forward(self, x):
        self.passes += self.training
        x = torch.tanh(x * self.signs @ self.mix).reshape({count}, 8)
        return {{"logits": self.last(self.both(x)) * (1 + 1 / (1 + self.passes))}}
"""
LAYERS = """
import torch

class Doubled(torch.nn.Module):
    def forward(self, x):
        return torch.cat([x, -x], dim=-1)
"""
SWEEP = """
study: own
data: {source: table.csv, target: kind, split: {train: 0.6, dev: 0.2, test: 0.2}FOLDS}
model: {kind: net.py:Net, outputs: logits}
space: {learning_rate: {low: 0.05, high: 0.2}}
training: {epochs: 2, batch_size: 16}
search: {trials: 2, strategy: random, pruner: none}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    random = np.random.default_rng(0)
    numbers = random.normal(size=(120, 3)).round(3)
    frame = pd.DataFrame(numbers, columns=["a", "b", "c"])
    frame["ward"] = random.choice(["north", "south"], 120)
    frame["kind"] = np.where(numbers[:, 0] + numbers[:, 1] > 0, "up", "down")
    frame.loc[::9, "b"] = np.nan
    frame.to_csv("table.csv", index=False)
    return tmp_path


pytestmark = pytest.mark.usefixtures("quick_apart")


def trained(folder: Path, *, count: str = "len(x)", folds: str = "") -> StudyPaths:
    (folder / "net.py").write_text(NET.format(count=count))
    (folder / "layers.py").write_text(LAYERS)
    (folder / "sweep.yaml").write_text(SWEEP.replace("FOLDS", folds))
    assert run_command_line(["run", "sweep.yaml", "--engine", "inline", "-q"]) == 0
    return StudyPaths((folder / "results" / "own").resolve())


def predictions_alone(folder: Path, csv: Path) -> pd.DataFrame:
    """By its predict.py, in a process of its own that finds nothing beside it."""
    command = [sys.executable, str(folder / "predict.py"), str(csv)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=csv.parent, timeout=100)
    assert done.returncode == 0, done.stderr
    (csv.parent / "found.csv").write_text(done.stdout)
    return pd.read_csv(csv.parent / "found.csv")


@pytest.mark.deep
@pytest.mark.slow
def test_a_network_that_cannot_be_traced_leaves_as_code_and_weights(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = trained(folder)
    capsys.readouterr()
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert run_command_line(["best", "sweep.yaml", "--export", str(elsewhere / "winner"), "--verify"]) == 0
    said = capsys.readouterr().err
    assert "the network cannot be exported by torch.export: Constraints violated (examples)!" in said
    assert "specialized it to be a constant" in said  # not cut off at the first line
    assert "x.shape[0] is not" in said
    assert f"so {elsewhere / 'winner'} holds your own code and the weights, in the place of a program\n" in said
    assert f"verified: {elsewhere / 'winner'} scores dev accuracy " in said
    winner = elsewhere / "winner"
    assert sorted(file.name for file in (winner / "code").iterdir()) == ["layers.py", "net.py"]
    for name in ("predict.py", "network.py", "trained_weights.py"):
        assert not [line for line in (winner / name).read_text().splitlines() if "import" in line and "tuner." in line]
    study = read_study(paths, study="own")
    best = max(study.records, key=lambda record: record.value or 0.0)
    table = pd.read_csv("table.csv")
    table.drop(columns="kind").to_csv(elsewhere / "new.csv", index=False)
    for file in ("net.py", "layers.py", "table.csv"):
        (folder / file).rename(folder / f"gone-{file}")
    found = predictions_alone(winner, elsewhere / "new.csv")
    (folder / "gone-table.csv").rename(folder / "table.csv")
    right = (found["class"] == table["kind"]).mean()
    assert best.value is not None
    assert right > 0.5
    assert {"up", "down"} == set(found.columns) - {"class"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "folds", "target", "verified"),
    [
        pytest.param("x.shape[0]", "", "winner", "scores dev accuracy ", marks=pytest.mark.deep),
        pytest.param("len(x)", ", folds: 3", "winner", "answers as the networks of the folds", marks=pytest.mark.deep),
        ("x.shape[0]", "", "winner.onnx", "scores dev accuracy "),
    ],
)
def test_verify_checks_what_is_exported(
    count: str, folds: str, target: str, verified: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if target.endswith(".onnx"):
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    trained(folder, count=count, folds=folds)
    capsys.readouterr()
    assert run_command_line(["best", "sweep.yaml", "--export", target, "--verify"]) == 0
    assert f"verified: {target} {verified}" in capsys.readouterr().err
    assert target != "winner" or (folder / "winner" / "network.pt2").exists() == (not folds)


@pytest.mark.deep
def test_an_export_that_answers_otherwise_is_found_out(folder: Path) -> None:
    paths = trained(folder, count="x.shape[0]")
    assert run_command_line(["best", "sweep.yaml", "--trial", "0", "--export", "winner"]) == 0
    (record,) = (r for r in read_study(paths, study="own").records if r.number == 0)
    spec, weights = read_sweep(Path("sweep.yaml")).spec, paths.trial(0).weights
    assert record.seed is not None

    def checked() -> float | None:
        one = TrainedTrial(trial=0, params=record.params, weights=weights, seed=record.seed or 0)
        return check_export(spec, [one], Path("winner").resolve(), known=None)

    assert checked() == pytest.approx(record.value)
    preparation = json.loads(Path("winner/preparation.json").read_text())
    preparation["mean"][0] += 1.0
    Path("winner/preparation.json").write_text(json.dumps(preparation))
    with pytest.raises(TunerError, match="does not answer as its network does: dev predictions are off by "):
        checked()


@pytest.mark.slow
@pytest.mark.parametrize("folds", but_deep(["", ", folds: 3"], ", folds: 3"))
def test_verify_checks_safetensors(folds: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    sweep = SWEEP.replace("FOLDS", folds).replace("{kind: net.py:Net, outputs: logits}", "linear")
    (folder / "sweep.yaml").write_text(sweep)
    assert run_command_line(["run", "sweep.yaml", "--engine", "inline", "-q"]) == 0
    capsys.readouterr()
    target = folder / "winner.safetensors"
    assert run_command_line(["best", "sweep.yaml", "--trial", "0", "--export", str(target), "--verify"]) == 0
    verified = "answers as the networks of the folds" if folds else "scores dev accuracy "
    assert f"verified: {target} {verified}" in capsys.readouterr().err
    paths = StudyPaths((folder / "results" / "own").resolve())
    (record,) = (r for r in read_study(paths, study="own").records if r.number == 0)
    others = {name: tensor * 1.5 + 1.0 for name, tensor in safetensors.load_file(str(target)).items()}
    safetensors.save_file(others, str(target))
    spec, weights = read_sweep(Path("sweep.yaml")).spec, paths.trial(0).weights
    one = TrainedTrial(trial=0, params=record.params, weights=weights, seed=record.seed or 0)
    with pytest.raises(TunerError, match="does not answer as its network does: dev predictions are off by "):
        check_export(spec, [one], target, known=None)


@pytest.mark.slow
def test_onnx_refuses_with_the_whole_cause(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxscript")
    trained(folder)
    capsys.readouterr()
    assert run_command_line(["best", "sweep.yaml", "--export", "winner.onnx"]) == 1
    said = capsys.readouterr().err
    assert "the network cannot be exported by ONNX: " in said
    assert "Constraints violated" in said
    assert not Path("winner.onnx").exists()


@pytest.mark.deep
def test_what_a_module_drew_as_it_was_built_is_drawn_again_for_the_test_set(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its trial's seed: no state dict has it."""
    paths = trained(folder)
    torch.manual_seed(5)
    assert run_command_line(["test", "sweep.yaml"]) == 0
    assert run_command_line(["test", "sweep.yaml", "--again"]) == 0
    done = subprocess.run([sys.executable, str(paths.best / "predict.py")], capture_output=True, text=True, timeout=100)
    best = max(record.value or 0.0 for record in read_study(paths, study="own").records)
    assert done.stdout == f"dev accuracy {best:.6f}\n", done.stderr
