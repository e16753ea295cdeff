"""Data of every kind are known again, and are refused when they are others."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.helpers import load, sweep
from tuner.data.identity import what_differs
from tuner.data.load import load_training_data, measure_training_part
from tuner.data.test_set import load_test_split
from tuner.errors import StudyMismatchError

FUNCTION = "import numpy as np\ndef load():\n    return np.arange(120.).reshape(60, 2) * {scale}, np.arange(60) % 2\n"


def table(file: Path, *, decimals: int = 4, rows: int = 60, first: str = "a") -> None:
    random = np.random.default_rng(0)
    lines = [f"{a:.{decimals}f},{b:.{decimals}f},{i % 2}" for i, (a, b) in enumerate(random.normal(size=(rows, 2)))]
    file.write_text("\n".join([f"{first},b,y", *lines]) + "\n")


def rewritten(folder: Path) -> None:
    table(folder / "data.csv", decimals=3)


KINDS: dict[str, tuple[dict[str, Any], Callable[[Path], None]]] = {
    "a table": ({}, rewritten),
    "folds": ({"folds": 3}, rewritten),
    "a stream": ({"stream": True}, rewritten),
    "a given dev file": ({"dev": "dev.csv"}, lambda folder: table(folder / "dev.csv", decimals=2, rows=20)),
    "a given test file": ({"test": "test.csv"}, lambda folder: table(folder / "test.csv", decimals=2, rows=20)),
    "a function": (
        {"source": "own_source.py:load"},
        lambda folder: (folder / "own_source.py").write_text(FUNCTION.format(scale=2)) and None,
    ),
    "an archive": (
        {"source": "data.npz"},
        lambda folder: np.savez(folder / "data.npz", x=np.ones((60, 2)), y=np.arange(60) % 2),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_other_data_are_refused_whatever_they_are_read_from(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # it goes by seconds, and the function changes within one
    table(tmp_path / "data.csv")
    table(tmp_path / "dev.csv", rows=20)
    table(tmp_path / "test.csv", rows=20)
    (tmp_path / "own_source.py").write_text(FUNCTION.format(scale=1))
    np.savez(tmp_path / "data.npz", x=np.arange(120.0).reshape(60, 2), y=np.arange(60) % 2)
    data, change = KINDS[kind]
    spec = sweep(tmp_path, **{"source": "data.csv"} | data)
    known = asdict(load_training_data(spec).info)
    assert asdict(load_training_data(spec, known=known).info) == known
    measure_training_part(spec, known=known)
    if known["num_test"]:
        load_test_split(spec, known=known)
    change(tmp_path)
    monkeypatch.delitem(sys.modules, "own_source", raising=False)
    for read in (load_training_data, measure_training_part, load_test_split):
        with pytest.raises(StudyMismatchError, match="does not give what the study was trained on"):
            read(spec, known=known)


def test_what_differs_is_said(tmp_path: Path) -> None:
    table(tmp_path / "data.csv")
    before = asdict(load(tmp_path, source="data.csv", split={"train": 0.5, "dev": 0.5}).info)
    table(tmp_path / "data.csv", rows=50, first="c")
    now = asdict(load(tmp_path, source="data.csv", split={"train": 0.5, "dev": 0.5}).info)
    (line,) = what_differs(before, now)
    assert "30 train examples then, 25 now; 30 dev examples then, 25 now; inputs a are gone; inputs c are new" in line
    assert f"SHA-256 was {before['sha256'][:12]}, is {now['sha256'][:12]}" in line
    assert what_differs(before, before) == what_differs({}, now) == what_differs(None, now) == []


def test_a_study_that_knows_only_the_number_of_test_examples_compares_that(tmp_path: Path) -> None:
    table(tmp_path / "data.csv")
    now = asdict(load(tmp_path, source="data.csv").info)
    old = {key: value for key, value in now.items() if key != "test_sha256"}
    assert what_differs(old, now) == []
    assert what_differs(old | {"num_test": 3}, now) == [
        f"data: the test examples are not those that were set aside (3 test examples then, {now['num_test']} now)"
    ]
