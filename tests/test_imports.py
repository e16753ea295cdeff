"""Users' modules: whose neighbours are found beside them, whatever else there is of that name."""

from __future__ import annotations

import importlib
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import UserCodeError
from tuner.imports import load_object


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In a folder that has nothing to do with the modules; names in `sys.modules` are free again afterwards."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def call(target: str, root: Path) -> Any:
    function: Any = load_object(target, root=root)
    return function()


LATE = "def where():\n    from neighbour_x import NAME\n    return NAME\n"
EARLY = "from neighbour_x import NAME\ndef where():\n    return NAME\n"


def test_each_file_finds_its_own_neighbour_early_and_late(tmp_path: Path) -> None:
    root = write(tmp_path / "root", net=LATE, neighbour_x="NAME = 'of the root'")
    write(root / "loaders", load=EARLY, neighbour_x="NAME = 'of the loaders'\ndef where(): return 'loaders itself'")
    assert call("loaders/neighbour_x.py:where", root) == "loaders itself"
    assert call("net.py:where", root) == "of the root"
    assert call("loaders/load.py:where", root) == "of the loaders"
    assert call("net.py:where", root) == "of the root"


def test_the_current_folder_gives_way_to_the_sweep_files(tmp_path: Path) -> None:
    write(
        tmp_path / "elsewhere", neighbour_y="def where(): return 'current'", only_here="def where(): return 'current'"
    )
    root = write(tmp_path / "root", neighbour_y="def where(): return 'root'")
    assert call("neighbour_y:where", root) == "root"
    assert call("only_here:where", root) == "current"


def test_packages_of_one_name_in_two_folders_are_two(tmp_path: Path) -> None:
    source = "import kit_z.parts\nfrom kit_z import parts as same\nimport kit_z.parts as too\n" + (
        "def where(): return {kit_z.parts.NAME, same.NAME, too.NAME, kit_z.parts.relative()}"
    )
    parts = "NAME = __file__\ndef relative():\n    from .parts import NAME\n    return NAME\n"
    for name, marked in (("a", True), ("b", True), ("c", False)):
        folder = write(tmp_path / name, **{f"net_{name}": source})
        write(folder / "kit_z", parts=parts, **({"__init__": ""} if marked else {}))
    for name in ("a", "b", "c"):
        assert call(f"net_{name}.py:where", tmp_path / name) == {str(tmp_path / name / "kit_z" / "parts.py")}


def test_a_users_file_of_an_installed_modules_name_is_the_users_alone(tmp_path: Path) -> None:
    import colorsys

    root = write(tmp_path / "root", net=EARLY.replace("neighbour_x", "colorsys"), colorsys="NAME = 'the user'")
    (root / "json").mkdir()  # no module: it gives way
    write(root, other="import json\ndef where(): return json.dumps(1)")
    assert call("net.py:where", root) == "the user"
    assert load_object("colorsys.py:NAME", root=root) == "the user"
    assert importlib.import_module("colorsys") is colorsys
    assert call("other.py:where", root) == "1"


def test_odd_names_of_files(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("my-net", "net.v2", "os", "twin", "class"):
        write(root, **{name: f"def where(): return {name!r}"})
    write(root / "twin", __init__="def where(): return 'the package'")
    for name in ("my-net", "net.v2", "os", "twin", "class"):
        assert call(f"{name}.py:where", root) == name
    assert call("twin:where", root) == "the package"


def test_what_a_module_defines_can_be_pickled_and_loaded_in_a_process_that_looks_there(tmp_path: Path) -> None:
    root = write(tmp_path / "root", shapes_w="class Square: pass")
    square: Any = load_object("shapes_w.py:Square", root=root)
    assert load_object("shapes_w:Square", root=root) is square
    path = tmp_path / "square.pickle"
    path.write_bytes(pickle.dumps(square()))
    code = f"import pickle, sys; sys.path += {sys.path!r}; print(pickle.load(open({str(path)!r}, 'rb')))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.startswith("<shapes_w.Square object")


def test_a_module_that_is_not_there_or_breaks(tmp_path: Path) -> None:
    root = write(tmp_path / "root", broken="import not_there_at_all")
    for target, said in (
        ("nowhere.py:f", "no such file"),
        ("nowhere_v:f", "importing nowhere_v failed: ModuleNotFoundError"),
        ("broken.py:f", "No module named 'not_there_at_all'"),
    ):
        for _ in range(2):
            with pytest.raises(UserCodeError, match=said):
                load_object(target, root=root)


def test_caches_of_finders_can_be_dropped_once_a_file_of_the_users_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "dropped_caches.py").write_text("NUMBER = 3\n")
    assert load_object("dropped_caches.py:NUMBER", root=tmp_path) == 3
    importlib.invalidate_caches()
