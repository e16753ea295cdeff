"""What a sweep is given as objects: files that name themselves, and are read as any others are."""

from __future__ import annotations

import linecache
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.python import elsewhere
from tuner.data.sources import read_contents
from tuner.errors import UsageError
from tuner.imports import load_object
from tuner.paths import LinkInStudyError
from tuner.python.given import Given
from tuner.spec.model import DataSpec


def cell(text: str, name: str = "<cell>") -> dict[str, Any]:
    """What is defined where a notebook's cell, or a script, is run."""
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    values: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(text, name, "exec"), values)
    return values


CELL = """
SCALE = 3
def scaled(x):
    return SCALE * x
def build(params, data):
    return scaled(params)
"""


def named(folder: Path, value: object, key: tuple[str, ...] = ()) -> Any:
    """What a sweep in a folder names for what it was given, which is written there."""
    given = Given(folder / "given", root=folder)
    found = given.plain(value, key)
    given.write()
    return found


def test_what_a_sweep_file_can_say_stays_what_it_is(tmp_path: Path) -> None:
    values = {"a": {"low": np.float64(0.5), "n": np.int64(3)}, "b": (1, "x", None, True), "c": Path("x/y"), 4: 1e-5}
    assert named(tmp_path, values) == {
        "a": {"low": 0.5, "n": 3}, "b": [1, "x", None, True], "c": "x/y", "4": 1e-5,
    }  # fmt: skip
    assert not (tmp_path / "given").exists()


def test_a_function_of_a_cell_is_a_file_that_has_it_and_what_it_names(tmp_path: Path) -> None:
    name = named(tmp_path, {"model": cell(CELL)["build"]})["model"]
    assert name == "given/model.py:build"
    function: Any = load_object(name, root=tmp_path)
    assert function(2, None) == 6


def test_the_file_changes_with_the_function_and_with_what_it_names_and_not_else(tmp_path: Path) -> None:
    def text(cell_text: str) -> str:
        named(tmp_path, {"model": cell(cell_text)["build"]})
        return (tmp_path / "given" / "model.py").read_text()

    before = text(CELL)
    assert text(CELL) == before
    assert text(CELL.replace("SCALE * x", "SCALE + x")) != before
    assert text(CELL.replace("SCALE = 3", "SCALE = 4")) != before
    assert text(CELL + "OTHER = 1\n") == before


def test_a_class_and_a_function_without_a_name_can_be_given(tmp_path: Path) -> None:
    values = cell("class Net:\n    def size(self):\n        return 7\nfactory = lambda params, data: params\n")
    found = named(tmp_path, {"model": values["Net"], "training": {"loss": values["factory"]}})
    net: Any = load_object(found["model"], root=tmp_path)
    assert net().size() == 7
    assert found["training"]["loss"] == "given/training_loss.py:function"


def test_a_function_of_a_file_is_named_by_it(tmp_path: Path) -> None:
    assert named(tmp_path, elsewhere.build, ("model",)) == "tests.python.elsewhere:build"
    assert not (tmp_path / "given").exists()


def test_what_cannot_be_sent_is_refused_with_the_remedy(tmp_path: Path) -> None:
    lock = threading.Lock()
    with pytest.raises(UsageError, match=r"^model: function cannot be sent .*inside the function$"):
        named(tmp_path, {"model": lambda params, data: lock})


@pytest.mark.parametrize(("key", "value"), [("study", object()), ("search", {"trials": {1, 2}})])
def test_another_object_is_refused_with_its_place(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(UsageError, match=rf"^{key}.* cannot stand in a sweep; give a number"):
        named(tmp_path, {key: value})


def contents(folder: Path, value: object, **data: Any) -> Any:
    name = named(folder, {"data": {"source": value}})["data"]["source"]
    return read_contents(name, DataSpec(source=name, **data), root=folder).train


def test_a_table_is_read_as_its_csv_file_is(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [0.1 + 0.2, float("nan")], "b": ["x,y", 'z"'], "t": [1, 2]}, index=[5, 3])
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = contents(tmp_path, frame, target="t")
    pd.testing.assert_frame_equal(
        table.frame, read_contents("t.csv", DataSpec(source="t.csv", target="t"), root=tmp_path).train.frame
    )


@pytest.mark.parametrize("form", ["pair", "mapping"])
def test_arrays_are_inputs_and_targets(tmp_path: Path, form: str) -> None:
    x, y = np.arange(12.0).reshape(4, 3), pd.Series(["a", "b", "a", "b"], dtype=object)
    found = contents(tmp_path, (x, y) if form == "pair" else {"X": x, "y": y})
    assert found.inputs.tolist() == x.tolist()
    assert found.targets.tolist() == y.tolist()


def test_other_examples_have_another_name_and_the_same_the_same(tmp_path: Path) -> None:
    names = [named(tmp_path, np.full((2, 2), n), ("data", "source")) for n in (1.0, 1.0, 2.0)]
    assert names[0] == names[1] != names[2]
    assert len(list((tmp_path / "given").iterdir())) == 2


def test_what_holds_no_examples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^data\.source: .*give a DataFrame"):
        named(tmp_path, {"data": {"source": object()}})


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "given").symlink_to(tmp_path / "other")
    with pytest.raises(LinkInStudyError):
        named(tmp_path, np.zeros((2, 2)), ("data", "source"))
    assert list((tmp_path / "other").iterdir()) == []


def test_what_an_existing_study_uses_is_left_as_it_is_until_it_is_written_and_can_be_put_back(tmp_path: Path) -> None:
    named(tmp_path, {"model": cell(CELL)["build"]})
    before = {path.name: path.read_bytes() for path in (tmp_path / "given").iterdir()}
    given = Given(tmp_path / "given", root=tmp_path)
    other = cell(CELL.replace("SCALE = 3", "SCALE = 4"))
    given.plain({"model": other["build"], "data": {"source": np.zeros((2, 2))}})
    assert given.overwrites
    assert {path.name: path.read_bytes() for path in (tmp_path / "given").iterdir()} == before
    given.write()
    assert not given.overwrites
    assert len(list((tmp_path / "given").iterdir())) == len(before) + 1
    given.take_back()
    assert {path.name: path.read_bytes() for path in (tmp_path / "given").iterdir()} == before
