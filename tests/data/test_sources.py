# ruff: noqa: E501  each message is written out on its one line
from __future__ import annotations

import gzip
import pickle
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.data.helpers import load, load_csv, rows
from tuner.data.dataset import TrainingData
from tuner.data.test_set import load_test_split
from tuner.errors import DataError, MissingExtraError, TunerError, UserCodeError


def counts(data: TrainingData) -> tuple[int, int, int]:
    return data.info.num_train, data.info.num_dev, data.info.num_test


BUNDLED = {
    "digits": ("classification", (1, 8, 8), 10, 1797),
    "iris": ("classification", (4,), 3, 150),
    "wine": ("classification", (13,), 3, 178),
    "breast_cancer": ("classification", (30,), 2, 569),
    "diabetes": ("regression", (10,), 1, 442),
    "linnerud": ("regression", (3,), 3, 20),
}


@pytest.mark.parametrize("name", list(BUNDLED))
def test_bundled_sets(name: str, tmp_path: Path) -> None:
    data = load(tmp_path, source=f"sklearn/{name}")
    task, input_shape, num_outputs, num_examples = BUNDLED[name]
    info = data.info
    assert (info.task, info.input_shape, info.num_outputs, sum(counts(data))) == (
        task,
        input_shape,
        num_outputs,
        num_examples,
    )
    assert len(info.target_std) == (num_outputs if task == "regression" else 0)
    assert len(info.class_names) == (num_outputs if task == "classification" else 0)


def test_digits_are_the_same_on_every_machine(tmp_path: Path) -> None:
    info = load(tmp_path, source="sklearn/digits").info
    assert info.sha256 == "59b3fe71c5f9c339b03c6db5e2039d71ec4b5310c706d9237fb20c23a34aee3b"
    assert (info.num_train, info.num_dev, info.num_test) == (1078, 360, 359)


@pytest.mark.deep
@pytest.mark.slow
def test_digits_are_those_of_scikit_learn_and_loaded_without_importing_it() -> None:
    code = """
import sys
from pathlib import Path
from tuner.data.sources import read_contents
from tuner.spec.model import DataSpec
data = DataSpec(source="sklearn/digits")
arrays = read_contents(data.source, data, root=Path()).train
assert "sklearn" not in sys.modules and "pandas" not in sys.modules
from sklearn.datasets import load_digits
digits = load_digits()
assert (arrays.inputs[:, 0] * 16 == digits.images).all() and (arrays.targets == digits.target).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_diabetes_data_is_not_scaled_by_dev_and_test(tmp_path: Path) -> None:
    data = load(tmp_path, source="sklearn/diabetes", normalise=False)
    assert data.train.inputs[:, 0].max() > 60, "ages in years"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "  "])
def test_separators_are_found(separator: str, tmp_path: Path) -> None:
    text = f"a{separator}b{separator}y\n" + rows(f"1{separator}2{separator}u", f'"p, q; r"{separator}3{separator}v')
    info = load_csv(tmp_path, text).info
    assert len(info.target_names) == 1
    assert info.target_names == ("y",)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("a,b,y\n" + rows("1,2,u", "2,3,v"), ("a", "b", "y")),
        (rows("1,2,u", "2,3,v"), ("column_1", "column_2", "column_3")),
        (rows("1,2,0", "2,3,1"), ("column_1", "column_2", "column_3")),
        ("0,1,2\n" + rows("1,2,0", "2,3,1"), ("0", "1", "2")),
        ("0,1,y\n" + rows("1,2,0", "2,3,1"), ("0", "1", "y")),
        ("2019,2020,y\n" + rows("1,2,0", "2,3,1"), ("2019", "2020", "y")),
        ("a,b,y\n" + rows("x,p,u", "z,q,v"), ("a", "b", "y")),
        (rows("x,p,u", "z,q,v"), ("column_1", "column_2", "column_3")),
        ("\ufeffa,b,y\n" + rows("1,2,u", "2,3,v"), ("a", "b", "y")),
        ("a,b,y\r\n" + rows("1,2,u", "2,3,v").replace("\n", "\r\n"), ("a", "b", "y")),
        ("a, b, y\n" + rows("?, 2, u", "3, 4, v"), ("a", "b", "y")),
    ],
)
def test_the_header_is_found(text: str, columns: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(text.encode())
    data = load(tmp_path, source="data.csv")
    plain = tuple(dict.fromkeys(n.split("=")[0].removesuffix(" missing") for n in data.info.feature_names))
    assert (*plain, *data.info.target_names) == columns
    assert sum(counts(data)) == 20
    assert any("no header" in note for note in data.info.notes) == (columns[0] == "column_1")


def test_a_truncated_gzip_file_is_called_so(tmp_path: Path) -> None:
    whole = gzip.compress(("a,y\n" + "".join(f"{i * 7919 % 1000},{'uv'[i % 2]}\n" for i in range(3000))).encode())
    for content in (whole[: len(whole) // 2], whole[:200] + b"\xff" * 40 + whole[240:]):
        (tmp_path / "data.csv.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"^data.csv.gz is a damaged or truncated gzip file: "):
            load(tmp_path, source="data.csv.gz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npz", b"just a text\n", "a.npz is no NumPy file: it begins with b'just a text"),
        ("a.npy", b"1,2,3\n", "a.npy is no NumPy file: it begins with b'1,2,3"),
        ("a.npz", b"", "a.npz is no NumPy file: it begins with b''"),
        ("a.npz", b"PK\x03\x04 and no more", "a.npz is no NumPy file: "),
        ("a.npy", pickle.dumps([1, 2]), "a.npy holds Python objects, which could run code when read"),
    ],
)
def test_what_is_no_numpy_file_is_called_what_it_is(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        load(tmp_path, source=name)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("shape", [(10**12, 10**5), (2**62, 2**62), (10**6, 10**6)])
def test_an_array_that_claims_to_be_huge_is_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
        file.write(bytes(80))
    with pytest.raises(DataError, match=r"^a.npy "):
        load(tmp_path, source="a.npy")


def test_a_table_may_be_gzipped(tmp_path: Path) -> None:
    (tmp_path / "data.csv.gz").write_bytes(gzip.compress(b"a,y\n" + rows("1,u", "2,v").encode()))
    assert sum(counts(load(tmp_path, source="data.csv.gz"))) == 20


def test_parquet_and_csv_of_the_same_table_are_the_same_data(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [0.5, None, 2.0] * 10, "c": ["x", None, "z"] * 10, "ok": [True, False, True] * 10})
    frame["kind"] = pd.Categorical(["p", "q", "p"] * 10)
    frame.to_parquet(tmp_path / "data.parquet")
    frame.to_csv(tmp_path / "data.csv", index=False)
    infos = [load(tmp_path, source=f"data.{suffix}").info for suffix in ("parquet", "csv")]
    assert infos[0] == infos[1]


def test_arrays_of_an_npz(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    x, y = random.normal(size=(60, 4)), np.arange(60) % 3
    np.savez(tmp_path / "a.npz", X=x, y=y, subject=np.arange(60) // 6, Y2=x.sum(axis=1))
    assert load(tmp_path, source="a.npz").info.feature_names == ("input_1", "input_2", "input_3", "input_4")
    assert load(tmp_path, source="a.npz", target="Y2").info.task == "regression"
    assert sum(counts(load(tmp_path, source="a.npz", group="subject", target="Y2"))) == 60
    with pytest.raises(DataError) as error:
        load(tmp_path, source="a.npz", order="when")
    assert str(error.value) == 'data.order: a.npz has no array "when"; there are subject, Y2'


@pytest.mark.slow
@pytest.mark.parametrize(
    "names", ["x_train y_train x_val y_val x_test y_test", "train_X train_y dev_X dev_y test_X test_y"]
)
def test_an_npz_may_hold_the_parts(names: str, tmp_path: Path) -> None:
    sizes = [40, 40, 10, 10, 6, 6]
    arrays = [np.arange(n)[:, None] * 1.0 if i % 2 == 0 else np.arange(n) % 2 for i, n in enumerate(sizes)]
    np.savez(tmp_path / "parts.npz", **dict(zip(names.split(), arrays, strict=True)))
    assert counts(load(tmp_path, source="parts.npz")) == (40, 10, 6)


@pytest.mark.parametrize(
    ("shape", "dtype", "input_shape"),
    [
        ((30, 5), np.float32, (5,)),
        ((30,), np.float64, (1,)),
        ((30, 6, 7), np.uint8, (1, 6, 7)),
        ((30, 6, 7), np.float32, (6, 7)),
        ((30, 3, 6, 7), np.uint8, (3, 6, 7)),
        ((30, 6, 7, 3), np.uint8, (3, 6, 7)),
        ((30, 6, 7, 1), np.float64, (1, 6, 7)),
        ((30, 5), np.bool_, (5,)),
        ((30, 5), np.int32, (5,)),
    ],
)
def test_shapes_of_inputs(shape: tuple[int, ...], dtype: type, input_shape: tuple[int, ...], tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    np.savez(tmp_path / "a.npz", x=x, y=np.arange(30) % 2)
    data = load(tmp_path, source="a.npz")
    assert data.info.input_shape == input_shape
    assert data.train.inputs.shape[1:] == input_shape


def test_one_hot_targets_are_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(30.0), y=np.eye(3)[np.arange(30) % 3])
    assert load(tmp_path, source="a.npz").info.class_names == ("0", "1", "2")


def test_missing_values_of_arrays(tmp_path: Path) -> None:
    x = np.arange(60.0).reshape(30, 2)
    x[4, 1] = np.nan
    y = np.linspace(0, 1, 30)
    y[7] = np.nan
    np.savez(tmp_path / "a.npz", x=x, y=y)
    data = load(tmp_path, source="a.npz")
    assert data.info.feature_names[:2] == ("input_1", "input_2")
    assert sum(counts(data)) == 29
    assert "dropped 1 of 30 examples without a target" in data.info.notes
    assert sum(counts(load(tmp_path, source="a.npz", missing="drop"))) == 28
    with pytest.raises(DataError, match=r"^a.npz, row 5: an input is missing \(NaN\); fill it, or set missing: drop$"):
        load(tmp_path, source="a.npz", missing="error")


def test_a_single_array_is_a_table(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(90.0).reshape(30, 3))
    info = load(tmp_path, source="a.npy").info
    assert (info.feature_names, info.target_names) == (("column_1", "column_2"), ("column_3",))
    records = np.array([(i, i % 2) for i in range(30)], dtype=[("size", float), ("kind", int)])
    np.save(tmp_path / "b.npy", records)
    assert load(tmp_path, source="b.npy").info.target_names == ("kind",)


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte"),
        ("train-images.idx3-ubyte", "train-labels.idx1-ubyte"),
    ],
)
def test_idx_files(images: str, labels: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 5, 6))
    write_idx(tmp_path / images, pixels)
    write_idx(tmp_path / labels, np.arange(30) % 3)
    data = load(tmp_path, source=images, normalise=False)
    assert (data.info.input_shape, data.info.class_names) == ((1, 5, 6), ("0", "1", "2"))
    assert 0 <= data.train.inputs.min() < 0.1 < 0.9 < data.train.inputs.max() <= 1
    assert data.info == load(tmp_path, source=images, normalise=False, target=labels).info


def test_a_test_file_in_idx_format(tmp_path: Path) -> None:
    for name, n in (("train", 30), ("t10k", 8)):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte", np.arange(n * 4).reshape(n, 2, 2))
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", np.arange(n) % 2)
    data = load(tmp_path, source="train-images-idx3-ubyte", test="t10k-images-idx3-ubyte")
    assert counts(data) == (24, 6, 8)


def write_images(root: Path, *, mode: str = "RGB", per_class: int = 8) -> None:
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True)
        for i in range(per_class):
            pixels = random.integers(0, 256, (6, 5, 3) if mode == "RGB" else (6, 5), dtype=np.uint8)
            Image.fromarray(pixels).save(root / label / f"{i}.png")


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
def test_a_folder_of_images(mode: str, channels: int, tmp_path: Path) -> None:
    write_images(tmp_path / "pets", mode=mode)
    (tmp_path / "pets" / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "pets" / ".cache").mkdir()
    info = load(tmp_path, source="pets").info
    assert (info.input_shape, info.class_names, info.task) == ((channels, 6, 5), ("cat", "dog"), "classification")
    assert load(tmp_path, source="pets", image_size=4).info.input_shape == (channels, 4, 4)


def test_a_folder_of_images_may_hold_the_parts(tmp_path: Path) -> None:
    for part, n in (("train", 10), ("validation", 3), ("test", 2)):
        write_images(tmp_path / "pets" / part, per_class=n)
    assert counts(load(tmp_path, source="pets")) == (20, 6, 4)


def test_images_of_differing_size_need_a_size(tmp_path: Path) -> None:
    write_images(tmp_path / "pets")
    Image.new("RGB", (9, 7)).save(tmp_path / "pets" / "dog" / "odd.png")
    with pytest.raises(DataError) as error:
        load(tmp_path, source="pets")
    assert str(error.value) == (
        "images differ in size: cat/0.png has 5x6 pixels, dog/odd.png 9x7; set image_size: to resize them all"
    )
    assert load(tmp_path, source="pets", image_size=8).info.input_shape == (3, 8, 8)


FUNCTIONS = """
    import numpy as np, pandas as pd, torch
    from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

    X, Y = np.arange(60.0).reshape(30, 2), np.arange(30) % 3

    def arrays(): return X, Y
    def tensors(): return torch.tensor(X, requires_grad=True), torch.tensor(Y)
    def lists(): return X.tolist(), [("a", "b", "c")[i] for i in Y]
    def frame(): return pd.DataFrame({"u": X[:, 0], "v": X[:, 1], "y": Y})
    def dataset(): return TensorDataset(torch.tensor(X), torch.tensor(Y))
    def loader(): return DataLoader(dataset(), batch_size=7, shuffle=True, drop_last=True)
    def named(): return {"inputs": X, "targets": Y, "who": Y}
    def parts(): return {"train": (X, Y), "val": dataset()}
    def told(data): return X, Y + data.seed
    def optional(data=None): assert data is None; return X, Y

    class Stream(IterableDataset):
        def __iter__(self): return zip(X, Y)

    def stream(): return Stream()
    def fails(): raise RuntimeError("no disk")
    def quits(): raise SystemExit(3)
    def three(): return X, Y, Y
    def ragged(): return [[1, 2], [3]], [0, 1]
    def unequal(): return X, Y[:7]
    def odd_items(): return [X[0]]

    class Items(Dataset):
        def __len__(self): return 4
        def __getitem__(self, i): return torch.zeros(i + 1), 0

    def uneven(): return Items()
    number = 7
    def pair(): return torch.utils.data.random_split(dataset(), [20, 10])
    def loaders(): return tuple(DataLoader(part) for part in pair())
    def sparse():
        import scipy.sparse
        return scipy.sparse.csr_matrix(X), Y
    class Broken(Items):
        def __getitem__(self, i): raise KeyError("x")
    def broken(): return Broken()
    def two(a, b): return X, Y
    def headless(): return {"dev": (X, Y)}
"""


@pytest.fixture
def functions(tmp_path: Path) -> Path:
    (tmp_path / "own_data.py").write_text(textwrap.dedent(FUNCTIONS))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("arrays", "tensors", "lists", "frame", "dataset", "loader", "named", "parts", "told", "optional", "stream"),
        *("pair", "loaders", "sparse"),
    ],
)
def test_a_function_may_return_examples_in_many_forms(name: str, functions: Path) -> None:
    data = load(functions, source=f"own_data.py:{name}", seed=4)
    assert (data.info.num_outputs, data.info.input_shape) == (3, (2,))
    assert sum(counts(data)) == (60 if name == "parts" else 30)


@pytest.mark.parametrize(
    ("name", "error_type", "message"),
    [
        ("fails", UserCodeError, "own_data.py:fails failed: RuntimeError: no disk (own_data.py, line 22)"),
        ("quits", UserCodeError, "own_data.py:quits failed: SystemExit: 3 (own_data.py, line 23)"),
        ("three", DataError, "own_data.py:three returned tuple; return (inputs, targets), a DataFrame, a torch Dataset, "
         "or a dict of train, dev and test"),
        ("unequal", DataError, "own_data.py:unequal: there are 30 inputs and 7 targets; give one target for each input"),
        ("uneven", DataError, "own_data.py:uneven: input 2 has shape (2,), the first (1,); make them equal"),
        ("number", UserCodeError, "own_data.py:number is no function but of type int"),
        ("broken", UserCodeError, "own_data.py:broken failed: KeyError: 'x' (own_data.py, line 41)"),
        ("two", UserCodeError, "own_data.py:two needs 2 arguments; it may take one, the data: block, or none"),
        ("headless", DataError, "own_data.py:headless returned parts without train: dev"),
        ("arays", UserCodeError, 'own_data.py has no "arays". Did you mean "arrays"?'),
    ],
)  # fmt: skip
def test_a_function_that_cannot_be_used_says_why(
    name: str, error_type: type[TunerError], message: str, functions: Path
) -> None:
    with pytest.raises(error_type) as error:
        load(functions, source=f"own_data.py:{name}")
    assert str(error.value) == message


def test_ragged_values_are_refused(functions: Path) -> None:
    with pytest.raises(DataError, match=r"^own_data.py:ragged returned values of differing shapes: "):
        load(functions, source="own_data.py:ragged")


def test_source_and_test_may_be_of_different_kinds(functions: Path) -> None:
    np.savez(functions / "test.npz", x=np.ones((4, 2)), y=[0, 1, 2, 0])
    data = load(functions, source="own_data.py:arrays", test="test.npz")
    assert counts(data) == (24, 6, 4)
    from tests.data.helpers import sweep

    assert len(load_test_split(sweep(functions, source="own_data.py:arrays", test="test.npz"))) == 4


def broken_files(root: Path) -> None:
    (root / "empty.csv").write_bytes(b"")
    (root / "header.csv").write_text("a,b,y\n")
    (root / "twins.csv").write_text("a,b,a\n1,2,3\n")
    (root / "ragged.csv").write_text("a,b,y\n1,2,3\n1,2,3,4\n")
    (root / "longer.csv").write_text("a,b\n" + "1,2,3\n" * 4)
    (root / "latin.csv").write_bytes("a,y\nJosé,1\n".encode("latin-1"))
    (root / "binary.csv").write_bytes(bytes(range(256)) * 4)
    (root / "broken.csv.gz").write_bytes(gzip.compress(np.random.default_rng(0).bytes(999).hex().encode())[:300])
    (root / "twice.npy").write_bytes(b"")
    (root / "bad.npz").write_bytes(b"PK nothing")
    (root / "bad.parquet").write_bytes(b"PAR1 nothing")
    (root / "report.docx").write_bytes(b"")
    np.save(root / "cube.npy", np.zeros((3, 4, 5)))
    np.save(root / "objects.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    np.savez(root / "noy.npz", x=np.zeros((3, 2)), z=np.zeros(3))
    np.savez(root / "multi.npz", x=np.zeros((3, 2)), y=[[1, 1], [1, 1], [1, 1]])
    np.savez(root / "text.npz", x=np.array([["a", "b"], ["c", "d"]]), y=[0, 1])
    np.savez(root / "inf.npz", x=np.array([[1, 2], [3, np.inf]]), y=[0, 1])
    np.savez(root / "huge.npz", x=np.array([[1, 2], [3, 4], [5, -1e308]]), y=[0, 1, 1])
    write_idx(root / "a-images-idx3-ubyte", np.zeros((4, 2, 2)))
    write_idx(root / "a-labels-idx1-ubyte", np.zeros(3))
    write_idx(root / "b-images-idx3-ubyte", np.zeros((4, 2, 2)))
    (root / "c-images-idx3-ubyte").write_bytes(b"\x89PNG nothing")
    (root / "c-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 9, 1]))
    (root / "nothing").mkdir()
    (root / "damaged" / "cat").mkdir(parents=True)
    (root / "damaged" / "cat" / "1.png").write_bytes(b"\x89PNG nothing")
    (root / "deep" / "cat").mkdir(parents=True)
    Image.fromarray(np.zeros((4, 4), dtype=np.uint16)).save(root / "deep" / "cat" / "1.png")


BROKEN = {
    "data.cvs": "there is no file {root}/data.cvs",
    "missing/data.csv": "there is no file {root}/missing/data.csv; the folder {root}/missing does not exist either",
    "emty.csv": 'there is no file {root}/emty.csv; did you mean "empty.csv"?',
    "report.docx": 'no kind of source reads "report.docx"; give sklearn/NAME, a folder of images, '
    "package.module:function, IDX (images-idx3-ubyte), NPZ or NPY, Parquet, CSV",
    "empty.csv": "empty.csv is empty",
    "header.csv": "header.csv: there are no rows",
    "twins.csv": 'twins.csv: two columns are called "a"; rename one',
    "ragged.csv": "ragged.csv is no table: Expected 3 fields in line 3, saw 4; every row needs as many fields as the first",
    "longer.csv": "longer.csv is no table: Expected 2 fields in line 2, saw 3; every row needs as many fields as the first",
    "noy.npz": "noy.npz has no array of targets (y or targets or target or labels or label or classes); there are x (3, 2), z (3,)",
    "multi.npz": "multi.npz: no label tells the examples apart; each is the same in all of them",
    "text.npz": "text.npz: inputs are of type <U1; give numbers",
    "inf.npz": "inf.npz, row 2: an input is infinite; correct it, or give NaN if unknown",
    "huge.npz": "huge.npz, row 3: an input is -1e+308, which is too large to compute with; correct it, or scale it",
    "objects.npy": "objects.npy holds Python objects, which could run code when read; save plain arrays",
    "cube.npy": "cube.npy: an array of shape (3, 4, 5) has no column to predict; save inputs and targets in an NPZ file",
    "a-images-idx3-ubyte": "a-images-idx3-ubyte holds 4 images and a-labels-idx1-ubyte 3 labels",
    "b-images-idx3-ubyte": "the labels of b-images-idx3-ubyte should be in b-labels-idx1-ubyte, which does not exist; name "
    "the file as data.target",
    "c-images-idx3-ubyte": "c-images-idx3-ubyte is no IDX file: it begins with 89 50 4e 47",
    "c-labels-idx1-ubyte": "the labels of c-labels-idx1-ubyte should be in c-labels-idx1-ubyte, which does not exist; name "
    "the file as data.target",
    "nothing": "{root}/nothing holds no images in folders named after their classes (such as cat/1.png)",
    "deep": "cat/1.png has more than 8 bits in a pixel (mode I;16); save it with 8 bits",
    "sklearn/iriss": 'scikit-learn bundles no data set "iriss" (others need a download); did you mean "sklearn/iris"?',
    "sklearn/mnist": 'scikit-learn bundles no data set "mnist" (others need a download); there are digits, iris, wine, '
    "breast_cancer, diabetes, linnerud",
    "no_such_module:function": "importing no_such_module failed: ModuleNotFoundError: No module named 'no_such_module'",
}  # fmt: skip


@pytest.mark.parametrize("location", list(BROKEN))
def test_a_source_that_cannot_be_read_is_refused_in_one_line(location: str, tmp_path: Path) -> None:
    broken_files(tmp_path)
    with pytest.raises(TunerError) as error:
        load(tmp_path, source=location)
    assert str(error.value) == BROKEN[location].format(root=tmp_path)


@pytest.mark.parametrize(
    "location", ["latin.csv", "binary.csv", "broken.csv.gz", "twice.npy", "bad.npz", "bad.parquet", "damaged"]
)
def test_a_damaged_file_is_refused_by_name(location: str, tmp_path: Path) -> None:
    broken_files(tmp_path)
    with pytest.raises(DataError) as error:
        load(tmp_path, source=location)
    message = str(error.value)
    assert message.startswith("cat/1.png" if location == "damaged" else location)
    assert "\n" not in message
    assert len(message) < 400


def test_a_damaged_label_file_is_refused(tmp_path: Path) -> None:
    broken_files(tmp_path)
    with pytest.raises(DataError) as error:
        load(tmp_path, source="b-images-idx3-ubyte", target="c-labels-idx1-ubyte")
    assert str(error.value) == "c-labels-idx1-ubyte is cut off or too long: its header promises an array of shape (9,)"


def test_parts_of_different_forms_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "dev.npz", x=np.zeros((3, 2)), y=[0, 1, 0])
    with pytest.raises(DataError) as error:
        load_csv(tmp_path, "a,b,y\n" + rows("1,2,0", "3,4,1"), dev="dev.npz")
    assert str(error.value) == "dev.npz holds arrays and data.csv a table; give all parts in one form"
    np.savez(tmp_path / "a.npz", x=np.zeros((30, 3)), y=np.arange(30) % 2)
    with pytest.raises(DataError) as error:
        load(tmp_path, source="a.npz", dev="dev.npz")
    assert str(error.value) == "dev.npz: examples have shape (2,), those of a.npz (3,)"


@pytest.mark.parametrize(
    ("package", "location", "extra"), [("pyarrow", "data.parquet", "parquet"), ("PIL", "pets", "images")]
)
def test_an_extra_that_is_not_installed_is_named(
    package: str, location: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data.parquet").touch()
    (tmp_path / "pets").mkdir()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf'run: pip install "tuner\[{extra}\]"$'):
        load(tmp_path, source=location)


def test_dev_examples_are_given_once(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", x_train=np.zeros((9, 2)), y_train=np.arange(9) % 2, x_dev=np.zeros((2, 2)), y_dev=[0, 1]
    )
    with pytest.raises(DataError) as error:
        load(tmp_path, source="a.npz", dev="a.npz")
    assert str(error.value) == "data.dev: a.npz holds dev examples of its own; give them once"
