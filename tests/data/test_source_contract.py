from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.contracts.source_contract import SourceContract
from tuner.data.sources import SOURCES

NUM = 40
X = np.random.default_rng(0).normal(size=(NUM, 3)).round(3)
Y = np.arange(NUM) % 2
FRAME = pd.DataFrame(X, columns=["a", "b", "c"]).assign(kind=Y)


@pytest.mark.slow
class TestBundled(SourceContract):
    kind = "sklearn/NAME"

    def write(self, root: Path) -> str:
        return "sklearn/wine"

    def missing(self) -> str:
        return "sklearn/whine"


@pytest.mark.slow
class TestImages(SourceContract):
    kind = "a folder of images"

    def write(self, root: Path) -> str:
        for i, (row, label) in enumerate(zip(X, Y, strict=True)):
            folder = root / "pictures" / f"class {label}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.outer(row, row).clip(0, 1).astype(np.uint8) * 200 + i).save(folder / f"{i}.png")
        return "pictures"

    def missing(self) -> str:
        return "no_pictures"


@pytest.mark.slow
class TestFunction(SourceContract):
    kind = "package.module:function"

    def write(self, root: Path) -> str:
        code = f"import numpy as np\n\ndef examples():\n    return np.array({X.tolist()}), np.array({Y.tolist()})\n"
        (root / "my_examples.py").write_text(code)
        return "my_examples.py:examples"

    def missing(self) -> str:
        return "no_examples.py:examples"


@pytest.mark.slow
class TestIdx(SourceContract):
    kind = "IDX (images-idx3-ubyte)"

    def write(self, root: Path) -> str:
        pixels = np.random.default_rng(1).integers(0, 256, (NUM, 4, 4), dtype=np.uint8)
        for name, array in (("images-idx3-ubyte", pixels), ("labels-idx1-ubyte", Y.astype(np.uint8))):
            header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            (root / name).write_bytes(header + array.tobytes())
        return "images-idx3-ubyte"

    def missing(self) -> str:
        return "other-images-idx3-ubyte"


@pytest.mark.slow
class TestNumpy(SourceContract):
    kind = "NPZ or NPY"

    def write(self, root: Path) -> str:
        np.savez(root / "arrays.npz", X=X, y=Y)
        return "arrays.npz"

    def missing(self) -> str:
        return "nothing.npz"


@pytest.mark.slow
class TestParquet(SourceContract):
    kind = "Parquet"

    def write(self, root: Path) -> str:
        FRAME.to_parquet(root / "table.parquet")
        return "table.parquet"

    def missing(self) -> str:
        return "nothing.parquet"


@pytest.mark.slow
class TestCsv(SourceContract):
    kind = "CSV"

    def write(self, root: Path) -> str:
        FRAME.to_csv(root / "table.csv", index=False)
        return "table.csv"

    def missing(self) -> str:
        return "nothing.csv"


def test_every_kind_of_source_keeps_the_contract() -> None:
    assert {contract.kind for contract in SourceContract.__subclasses__()} == set(SOURCES)
