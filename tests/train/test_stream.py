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
from tuner.data import stored
from tuner.data.dataset import Split, TrainingData
from tuner.data.stored import StoredRows, StreamedInputs, scattered
from tuner.data.test_set import load_test_split
from tuner.errors import DataError
from tuner.train.batch.order import epoch_order
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
@pytest.mark.parametrize("fuse", ["off", "auto"])
@pytest.mark.parametrize("window_rows", [30, 82, 1000])
def test_streamed_training_gives_the_bits_of_training_in_memory(
    window_rows: int, fuse: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "WINDOW_BYTES", 4 * 12 * window_rows)
    monkeypatch.setattr(stored, "LEAST_IN_WINDOW", 1)
    data = load(folder, source="d", stream=True)
    spec = make_spec(fuse=fuse, batch_size=41)
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


def on_disk(count: int) -> StreamedInputs:
    """Examples of one number, their position; it notes what is read."""
    return StreamedInputs(lambda rows: rows.astype(np.float32)[:, None], (count, 1), CPU)


@given(count=st.integers(1, 400), most=st.integers(1, 100), batch_size=st.integers(1, 50), seed=st.integers(0, 9))
@settings(max_examples=at_depth(60), deadline=None)
@pytest.mark.slow
def test_an_epoch_visits_every_example_once_window_by_window(count: int, most: int, batch_size: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "WINDOW_BYTES", 4 * most)
        patch.setattr(stored, "LEAST_IN_WINDOW", 1)
        inputs = on_disk(count)
        order = epoch_order(inputs, seed=seed, epoch=0, batch_size=batch_size)
        assert torch.equal(order.sort().values, torch.arange(count))
        for first in range(0, count, batch_size):
            batch = order[first : first + batch_size]
            low, end = inputs.hold(first, batch_size)
            assert ((low <= batch) & (batch < end)).all()
            assert torch.equal(inputs.at_hand(batch_size)[batch - low][:, 0], batch.float())
            assert torch.equal(inputs[batch][:, 0], batch.float())
        assert len(inputs.at_hand(batch_size)) <= max(most, batch_size)
    assert min(count, most) < 20 or not torch.equal(
        order, epoch_order(inputs, seed=seed, epoch=1, batch_size=batch_size)
    )
    assert torch.equal(order, epoch_order(inputs, seed=seed, epoch=0, batch_size=batch_size))


def test_a_window_is_prepared_once_for_all_trials_and_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "WINDOW_BYTES", 4 * 50)
    monkeypatch.setattr(stored, "LEAST_IN_WINDOW", 1)
    found: list[int] = []

    def prepare(rows: Any) -> Any:
        found.append(len(rows))
        return rows.astype(np.float32)[:, None]

    inputs = StreamedInputs(prepare, (100, 1), CPU)
    for _ in range(3):
        inputs.hold(0, 10)
        inputs.hold(30, 10)
    assert found == [50]
    inputs.hold(50, 10)
    assert torch.equal(inputs[:3], torch.tensor([[0.0], [1.0], [2.0]]))
    assert torch.equal(inputs[torch.tensor([[60, 99]])], torch.tensor([[[60.0], [99.0]]]))
    assert found == [50, 50, 3], "what is at hand is not read again"
    dev = StreamedInputs(prepare, (40, 1), CPU)
    assert [len(dev[first : first + 16]) for first in (0, 16, 32)] == [16, 16, 8]
    assert found[3:] == [40], "what fits is read whole"


@given(rows=st.lists(st.integers(0, 299), min_size=1, max_size=80), ascending=st.booleans(), span=st.integers(1, 2000))
@settings(max_examples=at_depth(40), deadline=None)
def test_rows_are_read_with_what_lies_between_them(
    rows: list[int], ascending: bool, span: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "rows"
    array = np.arange(300 * 5, dtype=np.float64).reshape(300, 5)
    if not file.exists():
        array.tofile(file)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "_GAP_BYTES", 3 * 40)
        patch.setattr(stored, "_SPAN_BYTES", span)
        mapped = StoredRows(np.memmap(file, dtype=np.float64, mode="r", shape=(300, 5)), (5,))
        positions = np.array(sorted(rows) if ascending else rows)
        assert np.array_equal(mapped[positions], array[positions])


@pytest.mark.parametrize("count", [1, 7, 3000])
def test_examples_come_in_runs_from_all_over_a_sorted_file(count: int) -> None:
    rows = scattered(count, 4096)
    assert np.array_equal(np.sort(rows), np.arange(count))
    assert np.array_equal(rows, scattered(count, 4096))
    if count > 1000:
        first = rows[:500] < count // 2  # two classes, one behind the other
        assert 0.3 < first.mean() < 0.7
        assert (np.diff(rows) == 1).mean() > 0.9


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
tuner.data.arrays.BLOCK_BYTES = tuner.data.stored.BLOCK_BYTES = 1 << 20
tuner.data.stored.WINDOW_BYTES = 1 << 22
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
