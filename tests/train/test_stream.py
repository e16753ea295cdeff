"""Data that stay on disk: the same tensors and the same curves as in memory, in bounded memory."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.helpers import load, sweep
from tests.depth import at_depth
from tests.train.cohorts import curves, figures, jobs, make_spec, run_cohort
from tuner.data.dataset import Split, TrainingData
from tuner.data.test_set import load_test_split
from tuner.errors import DataError, TunerError
from tuner.train.batch.order import BLOCK, WINDOW, block_order
from tuner.train.task import Task

CPU = torch.device("cpu")
FUNCTIONS = """
import numpy as np, torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

X, Y = np.load("{folder}/X.npy"), np.load("{folder}/y.npy")

def mapped(): return np.load("{folder}/X.npy", mmap_mode="r"), Y
def dataset(): return TensorDataset(torch.tensor(X), torch.tensor(Y))
def loader(): return DataLoader(dataset(), batch_size=7)

class Stream(IterableDataset):
    def __iter__(self): return zip(X, Y)

def iterable(): return Stream()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table with missing values, as NPY files, and functions of it."""
    random = np.random.default_rng(0)
    x = random.normal(3.0, 5.0, size=(300, 6)).astype(np.float32)
    y = (x[:, 0] > 3).astype(np.int64)
    x[random.random((300, 6)) < 0.02] = np.nan
    (tmp_path / "d").mkdir()
    np.save(tmp_path / "d" / "X.npy", x)
    np.save(tmp_path / "d" / "y.npy", y)
    (tmp_path / "own.py").write_text(FUNCTIONS.format(folder=tmp_path / "d"))
    return tmp_path


def in_memory(data: TrainingData) -> TrainingData:
    parts = [Split(part.inputs[:], part.targets) for part in (data.train, data.dev)]
    return TrainingData(parts[0], parts[1], data.info)


def in_one_order(split: Split) -> list[tuple[float, ...]]:
    rows = torch.cat([split.inputs[:], split.targets.unsqueeze(1)], dim=1)
    return sorted(tuple(row) for row in rows.tolist())


@pytest.mark.parametrize("source", ["d", "own.py:mapped", "own.py:dataset", "own.py:loader", "own.py:iterable"])
def test_streamed_examples_are_those_in_memory(source: str, folder: Path) -> None:
    streamed, whole = load(folder, source=source, stream=True), load(folder, source="d")
    for name in ("train", "dev"):
        assert in_one_order(getattr(streamed, name)) == in_one_order(getattr(whole, name))
    assert streamed.info.num_test == whole.info.num_test
    tests = [load_test_split(sweep(folder, source=source, stream=stream)) for stream in (True, False)]
    assert in_one_order(tests[0]) == in_one_order(tests[1])


@pytest.mark.parametrize("shape", [(5, 5), (2, 5, 5), (5, 5, 3), (7,), (12, 4)])
def test_shapes_are_those_in_memory(shape: tuple[int, ...], tmp_path: Path) -> None:
    kind = np.uint8 if shape != (12, 4) else np.float32
    (tmp_path / "d").mkdir()
    np.save(tmp_path / "d" / "inputs.npy", np.random.default_rng(0).integers(0, 255, (50, *shape)).astype(kind))
    np.save(tmp_path / "d" / "targets.npy", np.arange(50) % 2)
    streamed, whole = (load(tmp_path, source="d", stream=stream) for stream in (True, False))
    assert streamed.info.input_shape == whole.info.input_shape
    ours, theirs = streamed.dev.inputs[:], whole.dev.inputs
    assert torch.equal(ours.flatten(1).sort(dim=0).values, theirs.flatten(1).sort(dim=0).values)


@pytest.mark.slow
def test_streamed_training_gives_the_bits_of_training_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load(folder, source="d", stream=True)
    spec = make_spec(fuse="off", batch_size=41)
    streamed, whole = Task(spec, data, CPU), Task(spec, in_memory(data), CPU)
    assert streamed.streams
    assert not whole.streams
    monkeypatch.setattr(whole, "orders", streamed.orders)
    configurations: list[dict[str, Any]] = [{"learning_rate": 0.05, "dropout": 0.2}, {"learning_rate": 0.01}]
    found = [
        curves(run_cohort(task, jobs(folder / str(n), configurations))) for n, task in enumerate((streamed, whole))
    ]
    assert figures(found[0][0]) == figures(found[1][0])
    assert figures(found[0][1]) == figures(found[1][1])
    # Paused and resumed.
    run_cohort(streamed, jobs(folder / "r", configurations, to_epoch=1))
    assert figures(curves(run_cohort(streamed, jobs(folder / "r", configurations)))[1]) == figures(found[0][1])


@given(count=st.integers(1, 3 * WINDOW * BLOCK), seed=st.integers(0, 9))
@settings(max_examples=at_depth(10), deadline=None)
def test_an_epoch_visits_every_example_once_and_reads_few_blocks_at_a_time(count: int, seed: int) -> None:
    order = block_order(seed, 0, count)
    assert torch.equal(order.sort().values, torch.arange(count))
    for first in range(0, count - WINDOW * BLOCK, 999):
        assert len(set((order[first : first + 100] // BLOCK).tolist())) <= 2 * WINDOW
    assert count < 50 or not torch.equal(order, block_order(seed, 1, count))


def test_what_cannot_be_streamed_is_refused(folder: Path) -> None:
    (folder / "own.py").write_text("import pandas\ndef frame(): return pandas.DataFrame({'x': [1, 2], 'y': [0, 1]})")
    np.savez(folder / "a.npz", x=np.zeros((9, 2)), y=np.arange(9))
    for source, message in (
        ("sklearn/wine", "data.stream: sklearn/wine cannot be read in parts; give a CSV or Parquet file, NPY files in "
         "a folder, IDX files that are not packed, or a function, or remove stream"),
        ("own.py:frame", "data.stream: own.py:frame returned a DataFrame, which is in memory already; name its file as "
         "the source, or remove stream"),
        ("a.npz", "data.stream: a.npz cannot be read in parts; save its arrays as NPY files in a folder"),
    ):  # fmt: skip
        with pytest.raises(DataError) as error:
            load(folder, source=source, stream=True)
        assert str(error.value) == message
    task = Task(make_spec(fuse="require"), load(folder, source="d", stream=True), CPU)
    with pytest.raises(TunerError, match=r"^fuse: require, but data.stream reads inputs for one trial at a time"):
        task.program([task.member(jobs(folder, [{}])[0])])


BAR_MIB = {"d": 24, "t.csv": 24, "t.parquet": 48}
"""By how much a process may grow. In memory, the tables would take three to five times their size."""
WIDTH = 64
SIZE_MIB = {"d": 96, "t.csv": 64, "t.parquet": 96}
"""Of the numbers, as float64."""
MEASURE = """
import sys
from pathlib import Path
import torch
from tests.train.cohorts import jobs, make_spec, run_cohort
from tuner.data.load import load_training_data
from tuner.spec.model import DataSpec
from tuner.train.task import Task

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

root, source = sys.argv[1:]
torch.set_num_threads(1)
spec = make_spec(model="linear", epochs=1, batch_size=256, fuse="off", root=root)
import pandas  # what is imported and set up on the way is no data
import sklearn.tree, tuner.data.arrays, tuner.data.preparation
tuner.data.preparation._BLOCK_ELEMENTS = 1 << 18  # a small test needs small blocks
tuner.data.arrays.BLOCK_BYTES = 1 << 20
if source != "d":
    small = pandas.DataFrame({"x": [0.5, 1.5] * 50, "y": [0, 1] * 50})
    write = small.to_csv if source == "t.csv" else small.to_parquet
    write(root + "/small" + source, index=False)
    load_training_data(spec.model_copy(update={"data": DataSpec(source="small" + source, stream=True)}))
run_cohort(Task(spec, load_training_data(spec), torch.device("cpu")), jobs(Path(root) / "w", [{}], to_epoch=1))
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
before = status("VmRSS")
spec = spec.model_copy(update={"data": DataSpec(source=source, stream=True)})
run_cohort(Task(spec, load_training_data(spec), torch.device("cpu")), jobs(Path(root) / "s", [{}], to_epoch=1))
print(status("VmHWM") - before)
"""


@pytest.mark.deep
@pytest.mark.skipif(sys.platform != "linux", reason="measured by Linux's own counters")
@pytest.mark.parametrize("source", ["d", "t.csv", "t.parquet"])
def test_data_of_several_times_the_bar_are_trained_on_within_it(source: str, tmp_path: Path) -> None:
    """All memory that the process holds, mapped files included, at its peak: from reading to the end of an epoch."""
    write_data(tmp_path, source, width=WIDTH, count=SIZE_MIB[source] * 2**20 // (8 * WIDTH))
    command = [sys.executable, "-c", MEASURE, str(tmp_path), source]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=600, check=False)
    shutil.rmtree(tmp_path)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < BAR_MIB[source], done.stdout


def write_data(folder: Path, source: str, *, width: int, count: int) -> None:
    """Numbers of two classes, in one of three formats; the Parquet file is one group of rows."""
    random = np.random.default_rng(0)
    if source != "d":
        frame = pd.DataFrame(random.normal(size=(1024, width)).round(2)).assign(y=np.arange(1024) % 2)
        if source == "t.parquet":
            whole = pd.concat([frame + i for i in range(count // 1024)], ignore_index=True)
            whole.assign(y=whole["y"] % 2).rename(columns=str).to_parquet(folder / source, use_dictionary=False)
            return
        text = frame.to_csv(index=False, header=False)
        with (folder / source).open("w") as file:
            file.write(frame.head(0).to_csv(index=False))
            for i in range(count // 1024):
                file.write(text.replace(".1", f".{i % 10}"))
        return
    folder = folder / source
    folder.mkdir()
    x = np.lib.format.open_memmap(folder / "X.npy", mode="w+", dtype=np.float64, shape=(count, width))
    block = random.normal(size=(1024, width))
    for first in range(0, count, 1024):
        x[first : first + 1024] = block + first
    del x
    np.save(folder / "y.npy", np.arange(count) % 2)
