"""Nothing but `tuner test` can reach the test examples."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import tuner
from tests.data.helpers import load, sweep
from tuner.data.dataset import TrainingData
from tuner.data.test_set import load_test_split

SOURCE = Path(tuner.__file__).parent
MODULE = "tuner.data.test_set"
OPENING = "open_for_the_final_test"
MAY_IMPORT = {"cli/test.py"}
MAY_OPEN = {"data/test_set.py", "data/parts.py"}
MAY_READ_PARTS = {"data/load.py", "data/test_set.py"}


def names_used(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported, every attribute, and every string, since modules are imported by name too."""
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                yield node.module or ""
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            case ast.Attribute():
                yield node.attr
            case ast.FunctionDef():
                yield node.name
            case ast.Constant(value=str()):
                yield node.value


def users_of(*names: str) -> set[str]:
    found = set()
    for file in SOURCE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, _DOCUMENTED)}
        if any(name in used for used in names_used(tree) for name in names if used not in docstrings):
            found.add(file.relative_to(SOURCE).as_posix())
    return found


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)


@pytest.mark.slow
def test_only_the_test_command_imports_the_test_set() -> None:
    assert users_of(MODULE, "load_test_split") <= MAY_IMPORT | {"data/test_set.py"}


@pytest.mark.deep
@pytest.mark.slow
def test_only_the_test_set_opens_the_sealed_examples() -> None:
    assert users_of(OPENING, "_SealedExamples__examples") <= MAY_OPEN


@pytest.mark.deep
@pytest.mark.slow
def test_only_two_modules_read_the_parts() -> None:
    assert users_of("tuner.data.parts", "read_parts") <= MAY_READ_PARTS | {"data/parts.py"}


@pytest.mark.parametrize(
    "code",
    [
        "import tuner.data.test_set",
        "from tuner.data import test_set",
        "from tuner.data.test_set import load_test_split",
        "import importlib; importlib.import_module('tuner.data.test_set')",
        "def f():\n    from tuner.data.test_set import load_test_split as x",
    ],
)
def test_the_check_would_find_every_way_to_import_it(code: str) -> None:
    assert any(MODULE in used for used in names_used(ast.parse(code)))


def tensors_in(data: TrainingData) -> list[torch.Tensor]:
    return [data.train.inputs, data.train.targets, data.dev.inputs, data.dev.targets]


def test_what_training_sees_holds_no_test_example(tmp_path: Path) -> None:
    data = load(tmp_path, source="sklearn/breast_cancer")
    test = load_test_split(sweep(tmp_path, source="sklearn/breast_cancer"))
    assert len(test) == data.info.num_test == 114
    seen = {tuple(x) for split in (data.train, data.dev) for x in split.inputs.tolist()}
    assert not seen & {tuple(x) for x in test.inputs.tolist()}
    assert sum(len(t) for t in tensors_in(data)) == 2 * (569 - 114)


def test_the_test_part_is_prepared_as_the_training_part_was(tmp_path: Path) -> None:
    text = "x,c,y\n" + "".join(f"{i},{'pq'[i % 2]},{i / 3}\n" for i in range(90))
    (tmp_path / "train.csv").write_text(text)
    (tmp_path / "test.csv").write_text("x,c,y\n1000,q,500\n,r,2\n")
    names = {"source": "train.csv", "test": "test.csv"}
    data = load(tmp_path, **names)
    test = load_test_split(sweep(tmp_path, **names))
    empty, large = sorted(test.inputs.tolist())
    assert large[0] > 30, "far outside of what training has seen, and measured in its units"
    assert large[1:] == [0, 1]
    assert empty == [0, 0, 0]
    restored = sorted((test.targets[:, 0] * data.info.target_std[0] + data.info.target_mean[0]).tolist())
    assert restored == pytest.approx([2, 500], rel=1e-5)


def test_test_rows_do_not_change_what_training_sees(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("x,c,y\n" + "".join(f"{i},{'pq'[i % 2]},{i / 3}\n" for i in range(90)))
    found = []
    for text in ("x,c,y\n1,p,2\n", "x,c,y\n1e6,new,-9\n3,,4\n"):
        (tmp_path / "test.csv").write_text(text)
        found.append(load(tmp_path, source="train.csv", test="test.csv"))
    for a, b in zip(*map(tensors_in, found), strict=True):
        assert a.equal(b)
    assert found[0].info.sha256 == found[1].info.sha256
