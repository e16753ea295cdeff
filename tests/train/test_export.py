"""Networks that leave tuner predict what they predicted in it."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from tuner.data.dataset import TrainingData
from tuner.data.load import load_training_data
from tuner.data.parts import read_parts
from tuner.imports import load_object
from tuner.models.build import build_module
from tuner.records import Params, TrainedTrial
from tuner.spec.defaults import build_space, settings_for
from tuner.spec.model import SweepSpec
from tuner.train.after.evaluate import outputs_of
from tuner.train.after.export import export_folder, export_onnx
from tuner.train.task import Task

pytestmark = pytest.mark.slow


class Trained:
    """A network with weights on disk, and what it predicts of the dev examples."""

    def __init__(self, folder: Path, **sweep: Any) -> None:
        self.spec = SweepSpec(study="s", root=str(folder), **sweep)
        self.data: TrainingData = load_training_data(self.spec)
        self.params: Params = build_space(self.spec).default()
        self.weights = folder / "weights.pt"
        module = build_module(self.spec, settings_for(self.spec, self.params), self.data.info, seed=1)
        torch.save(module.state_dict(), self.weights)
        self.trials = [TrainedTrial(trial=0, params=self.params, weights=self.weights, seed=0)]
        task = Task(self.spec, self.data, torch.device("cpu"))
        outputs = outputs_of(task, self.params, torch.load(self.weights), self.data.dev, seed=1)
        self.expected: NDArray[np.float32] = task.predictions(outputs).numpy()

    def export(self, target: Path) -> Path:
        write = export_onnx if target.suffix else export_folder
        write(self.spec, self.trials, self.data.info, target)
        return target


@pytest.fixture
def patients(tmp_path: Path) -> Trained:
    random = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": random.integers(20, 90, 80).astype(float),
            "ward": random.choice(["north", "south", "west"], 80),
            "dose": random.normal(size=80).round(3),
            "stay": random.normal(5, 2, 80).round(3),
        }
    )
    frame.loc[::7, "age"] = np.nan
    frame.loc[::9, "ward"] = None
    frame.to_csv(tmp_path / "patients.csv", index=False)
    return Trained(tmp_path, data={"source": "patients.csv", "target": "stay"})


@pytest.mark.deep
def test_onnxruntime_predicts_the_same(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    trained = Trained(tmp_path, data={"source": "sklearn/digits"}, model="cnn")
    session = onnxruntime.InferenceSession(trained.export(tmp_path / "model.onnx"))
    (found,) = session.run(["probabilities"], {"inputs": trained.data.dev.inputs.numpy()})
    np.testing.assert_allclose(found, trained.expected, atol=1e-5)


def run_alone(folder: Path, argument: Path) -> pd.DataFrame:
    """Run a folder's predict.py from elsewhere, without tuner's path."""
    command = [sys.executable, str(folder / "predict.py"), str(argument)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env={"PATH": ""}, timeout=600)
    assert done.returncode == 0, done.stderr
    (folder / "found.csv").write_text(done.stdout)
    return pd.read_csv(folder / "found.csv")


def test_a_folder_predicts_from_a_csv_by_itself(patients: Trained, tmp_path: Path) -> None:
    folder = patients.export(tmp_path / "elsewhere" / "predictor")
    assert "tuner" not in {line.split()[1] for line in (folder / "predict.py").read_text().splitlines()
                           if line.startswith(("import ", "from "))}  # fmt: skip
    dev = read_parts(patients.spec.data, root=tmp_path).dev
    ward = dev.texts[0]
    rows = pd.DataFrame(dict(zip(dev.number_names, dev.numbers.T, strict=True)))
    rows["ward"] = [ward.values[code] if code >= 0 else None for code in dev.codes[:, 0]]
    (tmp_path / "patients.csv").unlink()
    rows.to_csv(tmp_path / "new.csv", index=False)
    found = run_alone(folder, tmp_path / "new.csv")
    assert list(found.columns) == ["stay"]
    np.testing.assert_allclose(found.to_numpy(), patients.expected, rtol=1e-4)


def test_a_folder_carries_quantiles_and_embedded_numbers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"a": np.exp(3 * random.normal(size=80)), "b": random.integers(3, size=80) * 1.5})
    frame.loc[::9, "a"] = np.nan
    frame["y"] = random.normal(size=80)
    frame.to_csv(tmp_path / "t.csv", index=False)
    trained = Trained(tmp_path, data={"source": "t.csv", "target": "y"}, model={"kind": "tabular"})
    assert trained.data.info.num_numbers == 2
    predict = load_object("predict.py:predict", root=trained.export(tmp_path / "predictor"))
    dev = read_parts(trained.spec.data, root=tmp_path).dev
    np.testing.assert_allclose(predict(np.asarray(dev.numbers)), trained.expected, rtol=1e-4, atol=1e-5)


def test_a_folder_predicts_from_a_file_without_names_as_the_training_file_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{i * 7 % 50};{i % 3};2024-01-{i % 28 + 1:02d};{i * 3 % 17}.5;{'uv'[i % 2]}" for i in range(100)]
    (tmp_path / "d.csv").write_text("\n".join(lines) + "\n")
    trained = Trained(tmp_path, data={"source": "d.csv", "categorical": ["column_2"], "dates": "expand"})
    predict = load_object("predict.py:main", root=trained.export(tmp_path / "predictor"))

    def predicted(rows: list[str]) -> list[float]:
        (tmp_path / "new.csv").write_text("\n".join(rows) + "\n")
        predict(tmp_path / "new.csv")
        found = pd.read_csv(io.StringIO(capsys.readouterr().out))
        return list(found["u"])

    read = read_parts(trained.spec.data, root=tmp_path).dev
    texts = read.texts[0].values
    dev = [(f"{n[0]:g}", texts[c[0]]) for n, c in zip(read.numbers, read.codes, strict=True)]
    days = [str(np.datetime64("1970-01-01") + np.timedelta64(int(n[read.number_names.index("column_3.days")]), "D"))
            for n in read.numbers]  # fmt: skip
    fourth = [n[read.number_names.index("column_4")] for n in read.numbers]
    rows = [f"{d[0]};{d[1]}.0;{day};{f:g}" for d, day, f in zip(dev, days, fourth, strict=True)]
    np.testing.assert_allclose(predicted(rows), trained.expected[:, 0], atol=1e-5)
    np.testing.assert_allclose(predicted([f"{row};" for row in rows]), trained.expected[:, 0], atol=1e-5)
    with pytest.raises(SystemExit, match="row 1 has 2 fields, and the inputs are fields 1 to 4 of the training file"):
        predicted(["1;2"])


def test_a_folder_predicts_classes_of_arrays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (90, 1, 6, 6)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", X=images, y=random.choice(["cat", "dog"], 90))
    trained = Trained(tmp_path, data={"source": "data.npz"})
    folder = trained.export(tmp_path / "predictor")
    dev = read_parts(trained.spec.data, root=tmp_path).dev
    np.save(tmp_path / "new.npy", dev.numbers)
    load_object("predict.py:main", root=folder)(tmp_path / "new.npy")
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    np.testing.assert_allclose(found[["cat", "dog"]].to_numpy(), trained.expected, atol=1e-5)
    assert found["class"].tolist() == [("cat", "dog")[i] for i in trained.expected.argmax(axis=1)]


def test_a_network_that_cannot_be_traced_leaves_as_code(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        """
import torch
class Odd(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x) if float(x.sum()) > 0 else super().forward(-x)
def make(params, data):
    return Odd(data.input_shape[0], data.num_outputs)
"""
    )
    pd.DataFrame({"x": np.arange(60.0), "y": np.arange(60.0)}).to_csv(tmp_path / "d.csv", index=False)
    trained = Trained(
        tmp_path, data={"source": "d.csv", "task": "regression"}, model="net.py:make",
        space={"learning_rate": {"low": 0.01, "high": 0.1}},
    )  # fmt: skip
    folder = tmp_path / "predictor"
    cause = export_folder(trained.spec, trained.trials, trained.data.info, folder)
    assert cause is not None
    assert cause.startswith("the network cannot be exported by torch.export: ")
    assert "float(x.sum())" in cause  # the line of the user's code, which is not in the first of the cause
    found = load_object("predict.py:predict", root=folder)(read_parts(trained.spec.data, root=tmp_path).dev.numbers)
    np.testing.assert_allclose(found, trained.expected, rtol=1e-4)


UNTRACEABLE = """
import torch
class Odd(torch.nn.Module):
    def __init__(self, data):
        super().__init__()
        self.few, self.one = torch.nn.Linear(2, 3), torch.nn.Linear(1, 3)
    def both(self, few, one):
        few, one = self.few(few), self.one(one)
        return few - one if float(one.sum()) > 0 else one - 2 * few
class InOrder(Odd):
    def forward(self, first, second):
        return self.both(first, second)
class ByName(Odd):
    def forward(self, *, one, scale=3.0, few):
        return scale * self.both(few, one)
class Alone(torch.nn.Linear):
    def forward(self, x):
        return super().forward(x) if float(x.sum()) > 0 else super().forward(-x)
def in_order(params, data): return InOrder(data)
def by_name(params, data): return ByName(data)
def alone(params, data): return Alone(1, 3)
"""


@pytest.mark.parametrize(
    ("factory", "groups"),
    [
        ("in_order", {"few": ["a", "c"], "one": ["b"]}),
        ("by_name", {"few": ["a", "c"], "one": ["b"]}),
        ("alone", {"last": ["c"]}),
    ],
)
def test_inputs_in_groups_leave_as_code(factory: str, groups: dict[str, list[str]], tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(UNTRACEABLE)
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(60, 3)).round(3), columns=["a", "b", "c"])
    frame.assign(kind=random.choice(["x", "y", "z"], 60)).to_csv(tmp_path / "d.csv", index=False)
    trained = Trained(
        tmp_path, data={"source": "d.csv", "target": "kind", "inputs": groups}, model=f"net.py:{factory}",
        space={"learning_rate": {"low": 0.01, "high": 0.1}},
    )  # fmt: skip
    folder = tmp_path / "predictor"
    assert export_folder(trained.spec, trained.trials, trained.data.info, folder) is not None
    found = load_object("predict.py:predict", root=folder)(read_parts(trained.spec.data, root=tmp_path).dev.numbers)
    np.testing.assert_allclose(found, trained.expected, rtol=1e-4)


def test_a_lightning_module_that_cannot_be_traced_leaves_as_code(tmp_path: Path) -> None:
    """Its class is called by name, with what it was trained with; all facts of the data and all values included."""
    (tmp_path / "net.py").write_text(
        """
import lightning.pytorch as pl
import torch
class Odd(pl.LightningModule):
    def __init__(self, data, params, input_shape, width=4, learning_rate=0.1, scale=2.0):
        super().__init__()
        assert isinstance(input_shape, tuple) and params["width"] == width
        self.scale = scale
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(*input_shape, width), torch.nn.Tanh(), torch.nn.Linear(width, data.num_outputs)
        )
    def forward(self, x):
        return self.scale * self.layers(x) if float(x.sum()) > 0 else self.layers(-x)
    def training_step(self, batch, batch_idx):
        return torch.nn.functional.mse_loss(self(batch[0]), batch[1])
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)
"""
    )
    pd.DataFrame({"x": np.arange(60.0), "y": np.arange(60.0)}).to_csv(tmp_path / "d.csv", index=False)
    trained = Trained(
        tmp_path, data={"source": "d.csv", "task": "regression"}, model={"kind": "net.py:Odd", "scale": 3.0},
        space={"width": {"low": 5, "high": 9, "type": "int"}},
    )  # fmt: skip
    folder = tmp_path / "predictor"
    cause = export_folder(trained.spec, trained.trials, trained.data.info, folder)
    assert cause is not None
    assert "float(x.sum())" in cause
    found = load_object("predict.py:predict", root=folder)(read_parts(trained.spec.data, root=tmp_path).dev.numbers)
    np.testing.assert_allclose(found, trained.expected, rtol=1e-4)


def test_a_folder_predicts_labels_of_arrays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", X=random.normal(size=(90, 4)), y=random.random((90, 3)) < 0.4)
    trained = Trained(tmp_path, data={"source": "data.npz"})
    folder = trained.export(tmp_path / "predictor")
    np.save(tmp_path / "new.npy", read_parts(trained.spec.data, root=tmp_path).dev.numbers)
    load_object("predict.py:main", root=folder)(tmp_path / "new.npy")
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert list(found.columns) == ["label_1", "label_2", "label_3"]
    np.testing.assert_allclose(found.to_numpy(), trained.expected, atol=1e-5)
