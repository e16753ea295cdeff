"""The files that a user's code consists of are found without running any of them."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import pytest

from tuner.spec.kept.code_versions import changed_files, version_of
from tuner.spec.model import SweepSpec
from tuner.spec.own_code import code_files, named_code


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"raise RuntimeError('it ran')\n{text}\n")


def files(folder: Path, **sweep: Any) -> list[str]:
    spec = SweepSpec(study="s", root=str(folder), **{"data": {"source": "sklearn/iris"}} | sweep)
    found = code_files(spec)
    for file, digest in found.items():
        assert digest == hashlib.sha256((folder / file).read_bytes()).hexdigest()
    return sorted(found)


def test_what_a_file_imports_is_found_at_its_top_in_its_functions_and_beside_it(folder: Path) -> None:
    write(
        folder,
        nets__net="import os, torch, numpy.linalg\nimport beside\ndef build(p, d):\n    from lib.layers import dense",
        nets__beside="import missing",
        lib__layers="from . import parts\nfrom .deep.more import *\nfrom tuner import TrialHandle",
        lib__parts="x = 1",
        lib__deep__more="import beside_nobody",
        unrelated="",
    )
    (folder / "lib" / "init").touch()
    (folder / "lib" / "__init__.py").write_text("")
    expected = ["lib/__init__.py", "lib/deep/more.py", "lib/layers.py", "lib/parts.py", "nets/beside.py", "nets/net.py"]
    assert files(folder, model="nets/net.py:build") == expected
    (folder / "nets" / "net.py").write_text("this is no Python (")
    assert files(folder, model="nets/net.py:build") == ["nets/net.py"]


@pytest.mark.parametrize(
    ("command", "found"),
    [
        (
            "python src/train.py --lr {learning_rate} --config config.txt",
            ["config.txt", "src/helper.py", "src/train.py"],
        ),
        ("python -m tool --lr {learning_rate}", ["tool.py"]),
        ("python -c pass {learning_rate}", []),
        (f"{sys.executable} src/{{name}}.py", []),
        ("./run.sh {learning_rate}", ["run.sh"]),
    ],
)
def test_a_command_s_script_is_found_with_what_it_imports(command: str, found: list[str], folder: Path) -> None:
    write(folder, src__train="import helper", src__helper="", tool="")
    (folder / "config.txt").write_text("a: 1")
    (folder / "run.sh").write_text("python src/train.py")
    assert files(folder, command=command, objective={"metric": "accuracy"}) == found


def test_every_key_that_names_code_is_known(folder: Path) -> None:
    write(folder, a="", b="", c="", d="", e="", f="")
    parts: dict[str, Any] = {
        "data": {"source": "a.py:load", "test": "b:load"},
        "model": "c.py:build",
        "objective": {"metric": "d.py:score", "direction": "maximize"},
        "training": {"loss": "e.py:loss", "optimizer": "f:make"},
    }
    assert files(folder, **parts) == [f"{name}.py" for name in "abcdef"]
    built_in = SweepSpec(study="s", data={"source": "runs/2026:01/data.csv"}, root=str(folder))
    assert named_code(built_in) == {} == code_files(built_in)
    own = SweepSpec(study="s", trainer="a.py:train", objective={"metric": "accuracy"}, root=str(folder))
    assert list(code_files(own)) == ["a.py"]


def test_a_version_is_that_of_its_files_and_what_changed_is_named() -> None:
    before, now = {"a.py": "1", "b.py": "2"}, {"a.py": "1", "b.py": "3", "c.py": "4"}
    assert version_of(before) == version_of(dict(reversed(before.items()))) != version_of(now)
    assert version_of({}) == ""
    assert changed_files(before, now) == ["b.py", "c.py"]
    assert changed_files(None, now) == []
