"""Tables that are read in parts are those that are read as a whole, whatever the parts hold."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.data.helpers import load, sweep
from tests.depth import at_depth
from tuner.data import kept
from tuner.data.examples import Examples
from tuner.data.load import load_training_data
from tuner.data.parts import read_parts
from tuner.data.sources import delimited, parquet
from tuner.data.test_set import load_test_split
from tuner.errors import DataError, TunerError
from tuner.spec.model import DataSpec

pytestmark = pytest.mark.slow

POOLS = [
    ["1", "2", "3"],
    ["1", "2.5", "7", ""],
    ["a", "b", "1"],
    ["True", "False", ""],
    ["True", "False", "0"],
    ["2020", "2021-01-02"],
    ["01", "1", "1.0", "b"],
    ["5", "6", "7", ""],
    ["x y", "x  y", "?", "z"],
    ["inf", "1", "2"],
    ["1,5", "2,5"],
    ["3+", "1", "2"],
]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # a run of tests that is killed leaves nothing behind
    monkeypatch.setattr(delimited, "PART_CELLS", 24)
    monkeypatch.setattr(delimited, "LEAST_ROWS", 1)


def read_rows(examples: Examples) -> list[str]:
    """The examples as read, in one order, to the bit."""
    texts = [
        [column.values[code] if code >= 0 else None for code in codes]
        for column, codes in zip(examples.texts, np.asarray(examples.codes[:]).T, strict=True)
    ]
    targets = examples.targets
    columns = [
        np.asarray(examples.numbers[:]).tolist(),
        *texts,
        (np.array(examples.class_names)[targets] if examples.task == "classification" else targets).tolist(),
        *(values.tolist() for values in (examples.groups, examples.times) if values is not None),
    ]
    return sorted(map(repr, zip(*columns, strict=True)))


def outcome(root: Path, **data: Any) -> object:
    """All that is read, or False if it is refused."""
    try:
        parts = read_parts(DataSpec(**data), root=root)
    except TunerError:
        return False
    test = parts.test.open_for_the_final_test() if parts.test is not None else parts.dev
    return [
        *(read_rows(part) for part in (parts.train, parts.dev, test)),
        (parts.notes, parts.train.task, parts.train.number_names, parts.train.class_names),
    ]


@st.composite
def changing_tables(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """Tables whose columns look different from part to part, and settings."""
    pools = draw(st.lists(st.sampled_from(POOLS), min_size=2, max_size=4))
    names = [draw(st.sampled_from(["a", "id"])), *"bcd"][: len(pools)]
    choose = draw(st.randoms(use_true_random=False))
    lines = []
    for _ in range(draw(st.integers(0, 8))):
        some = [choose.sample(pool, choose.randint(1, len(pool))) for pool in pools]
        lines += [";".join(choose.choice(values) for values in some) for _ in range(6)]
    header = draw(st.booleans())
    settings_of = st.fixed_dictionaries({}, optional={"missing": st.sampled_from(["drop", "error"])})
    data = draw(settings_of)
    role = draw(st.sampled_from([None, None, "group", "order"]))
    if header and role is not None and len(pools) > 2:
        data[role] = names[0]
    return "\n".join([";".join(names), *lines] if header else lines), data


FLAGS_WITH_A_GAP = "\n".join(f"1;1;1;{flag}" for flag in ("True", "", "False") for _ in range(6))


@settings(max_examples=at_depth(100), deadline=None)
@given(drawn=changing_tables())
@example(drawn=(FLAGS_WITH_A_GAP, {}))
def test_a_table_in_parts_is_the_table_as_a_whole(
    drawn: tuple[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    text, data = drawn
    root = tmp_path_factory.getbasetemp()
    (root / "changing.csv").write_text(text)
    kept._temporary.clear()  # files may be rewritten within a tick of the clock
    whole = outcome(root, source="changing.csv", **data)
    assert outcome(root, source="changing.csv", stream=True, **data) == whole
    with pytest.MonkeyPatch.context() as patch:  # as a large file
        patch.setattr(delimited, "LARGE_BYTES", 0)
        patch.setattr(delimited, "PART_BYTES", 40)
        assert outcome(root, source="changing.csv", **data) == whole


BEYOND = "9007199254740993"
"""A whole number that is no float64."""


@pytest.mark.parametrize(
    ("columns", "free", "passes"),
    [
        (("1", "2.5"), 1 << 40, 1),
        (("a", "b"), 1 << 40, 1),
        (("a", "1"), 1 << 40, 3),
        (("2", BEYOND), 1 << 40, 1),
        (("2.5", BEYOND), 1 << 40, 2),
        (("1", "2.5"), 100, 2),
    ],
    ids=["numbers", "texts", "texts and numbers", "large numbers", "large numbers and fractions", "a full disk"],
)
def test_the_text_is_parsed_once_unless_types_or_the_disk_want_it_anew(
    columns: tuple[str, str], free: int, passes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a column that begins with the one and ends with the other."""
    begun: list[Path] = []
    usual = delimited._parts

    def counted(path: Path, *rest: Any) -> Any:
        begun.append(path)
        return usual(path, *rest)

    monkeypatch.setattr(delimited, "_parts", counted)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=free))
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{value},{n % 2}\n" for value in columns for n in range(30)))
    streamed = outcome(tmp_path, source="t.csv", stream=True)
    assert len(begun) == passes
    assert streamed == outcome(tmp_path, source="t.csv")


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Numbers, flags, categories, missing values, a column that only counts, an empty one; as CSV and Parquet."""
    r = np.random.default_rng(0)
    count = 400
    frame = pd.DataFrame({
        "id": np.arange(1, count + 1),
        "age": r.normal(50, 20, count).round(3),
        "visits": r.integers(0, 9, count),
        "ward": np.array(["north", "south", None, "east"], dtype=object)[r.integers(0, 4, count)],
        "smokes": np.array([True, False, None], dtype=object)[r.integers(0, 3, count)],
        "nothing": np.full(count, np.nan),
        "outcome": np.array(["sick", "well", "dead"], dtype=object)[r.integers(0, 3, count)],
    })  # fmt: skip
    frame.loc[r.random(count) < 0.1, "age"] = np.nan
    frame.loc[r.random(count) < 0.05, "outcome"] = None
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet", row_group_size=150)
    frame.to_csv(tmp_path / "t.csv.gz", index=False)
    for half, rows in (("1", frame[:200]), ("2", frame[200:])):
        (tmp_path / "folder.parquet" / f"clinic={half}").mkdir(parents=True)
        rows.drop(columns="id").to_parquet(tmp_path / "folder.parquet" / f"clinic={half}" / "x.parquet")
    return tmp_path


@pytest.mark.deep
@pytest.mark.parametrize("source", ["t.csv", "t.csv.gz", "t.parquet", "folder.parquet"])
@pytest.mark.parametrize("data", [{}, {"missing": "drop"}, {"target": "visits"}, {"group": "visits", "seed": 4}])
def test_formats_give_the_examples_and_the_tensors_of_memory(source: str, data: dict[str, Any], patients: Path) -> None:
    given = {"source": source, "target": "outcome"} | data
    assert outcome(patients, stream=True, **given) == outcome(patients, **given)
    with pytest.MonkeyPatch.context() as patch:
        for module in (delimited, parquet):
            patch.setattr(module, "LARGE_BYTES", 0)
        patch.setattr(delimited, "PART_BYTES", 999)
        assert outcome(patients, **given) == outcome(patients, stream=True, **given)
    streamed, whole = load(patients, stream=True, **given), load(patients, **given)
    # Means are sums in another order: equal but for rounding.
    for part in ("train", "dev"):
        ours, theirs = (getattr(found, part).inputs[:].numpy() for found in (streamed, whole))
        np.testing.assert_allclose(np.sort(ours, axis=0), np.sort(theirs, axis=0), rtol=1e-5, atol=1e-6)
    assert streamed.info.feature_names == whole.info.feature_names
    assert streamed.info.notes == whole.info.notes
    tests = [load_test_split(sweep(patients, stream=stream, **given)) for stream in (True, False)]
    assert tests[0].targets.sort(dim=0).values.tolist() == pytest.approx(tests[1].targets.sort(dim=0).values.tolist())


ROW = "".join(f"{i},{i % 3}.5,{'ab'[i % 2]},{i % 2}\n" for i in range(60))
REFUSALS = {
    "a,b,c,y\n" + ROW + "9,1,b,\n": ({"missing": "error"}, "t.csv, row 61: column y is empty (1 missing in all)"),
    "a,b,c,y\n" + ROW + '9,"1,5",b,1\n': ({}, 't.csv, row 61: column b holds "1,5"'),
    "a,b,c,y\n" + ROW + "9,1e999,b,1\n": ({}, "t.csv, row 61: column b is infinite"),
    "a,b,c,y\n" + ROW + "9,1e308,b,1\n": ({}, "t.csv, row 61: column b is 1e+308, which is too large to compute with"),
    "a,b,c,y\n" + ROW + "9,1,b,1e308\n": ({"task": "regression"}, "t.csv, row 61: the target y is 1e+308, which"),
    "a,b,c,y\n" + ROW + "x,1,b,1\n": ({}, 't.csv, row 61: column a holds "x" among numbers'),
    "a,b,c,y\n" + ROW.replace(",a,", ",1.1.2020,").replace(",b,", ",2.1.2020,"): ({}, "t.csv: column c holds dates"),
    "a,b,c,y\n" + ROW.replace(".5,", "%,"): ({}, 't.csv, row 1: column b holds "0%", a number that is not written'),
    "a,b,c,y\n" + ROW + "9,1,b,1,7\n": ({}, "t.csv is no table: "),
    "a,b,c,y\n" + ROW + '9,1,"b,1\n' + ROW: ({}, "t.csv is no table: "),
    "a,b,c,y\n" + ROW + '9,1,"b,1\n1,2,a,0\n1,2,a,0\n1,2,a",0\n' + ROW: ({}, "row 61: column c holds further rows"),
    "a,b,c,y\n" + ROW + "9,1,b,inf\n": ({"task": "regression"}, "t.csv, row 61: the target y is inf"),
    "a,b,c,y\n": ({}, "t.csv: there are no rows"),
    "": ({}, "t.csv is empty"),
    "a,a,y\n" + "1,2,0\n3,4,1\n" * 9: ({}, 't.csv: two columns are called "a"'),
    "a,b,c,y\n" + ROW + "9,1,b,1\n".replace("b", "\0"): ({}, "t.csv: column c holds NUL bytes"),
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSALS, ids=lambda text: REFUSALS[text][1][:40])
def test_what_is_refused_in_memory_is_refused_in_parts_with_its_row(text: str, tmp_path: Path) -> None:
    data, message = REFUSALS[text]
    (tmp_path / "t.csv").write_text(text)
    found = []
    for stream in (True, False):
        with pytest.raises(DataError) as error:
            load(tmp_path, source="t.csv", stream=stream, **data)
        found.append(str(error.value))
    assert found[0] == found[1]
    assert message in found[0]


def test_a_text_of_its_own_in_each_row_is_refused_without_keeping_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.data.columns.MOST_DISTINCT_TEXTS", 50)
    (tmp_path / "t.csv").write_text("name,x,y\n" + "".join(f"n{i},{i},{i % 2}\n" for i in range(200)))
    with pytest.raises(DataError, match=r"^column name holds more than 50 distinct texts, and 100 at most .*ignore: "):
        load(tmp_path, source="t.csv", stream=True)


@pytest.fixture
def tables(patients: Path) -> Iterator[Path]:
    """A study's folder for arrays."""
    yield patients / "tables"
    for held in kept._held:
        os.close(held)
    kept._held.clear()


def keep(root: Path, tables: Path) -> str:
    return load_training_data(sweep(root, source="t.csv", stream=True), kept_in=tables).info.sha256


def folders(tables: Path) -> list[str]:
    return sorted(path.name for path in tables.iterdir() if path.is_dir())


def test_arrays_are_written_once_for_all_processes(patients: Path, tables: Path) -> None:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.starmap(keep, [(patients, tables)] * 4)
    assert len(set(found)) == 1
    (folder,) = folders(tables)
    written = (tables / folder / "numbers").stat().st_mtime_ns
    assert keep(patients, tables) == found[0]
    assert folders(tables) == [folder]
    assert (tables / folder / "numbers").stat().st_mtime_ns == written


@pytest.mark.deep
def test_what_a_crash_leaves_and_what_is_damaged_is_made_anew(patients: Path, tables: Path) -> None:
    sha256 = keep(patients, tables)
    (folder,) = folders(tables)
    (tables / folder).rename(tables / f"{folder}.tmp")  # killed before the end
    assert keep(patients, tables) == sha256
    (tables / folder / "numbers").write_bytes(b"")
    assert keep(patients, tables) == sha256
    assert folders(tables) == [folder]


@pytest.mark.deep
def test_a_table_that_changes_is_read_anew_and_the_old_arrays_go_when_unused(patients: Path, tables: Path) -> None:
    sha256 = keep(patients, tables)
    lines = (patients / "t.csv").read_text().splitlines()
    (patients / "t.csv").write_text("\n".join(lines[:-5]))
    assert keep(patients, tables) != sha256
    assert len(folders(tables)) == 2, "this process still reads the first"
    for held in kept._held:
        os.close(held)
    kept._held.clear()
    random.Random(0).shuffle(lines)
    (patients / "t.csv").write_text("\n".join(lines[:-9]))
    with pytest.raises(TunerError):
        load_training_data(sweep(patients, source="t.csv", target="outcome", stream=True), kept_in=tables)
    assert folders(tables) == []


def in_a_child(root: Path) -> str:
    load(root, source="t.csv", stream=True)
    return str(list(kept._temporary.values())[-1])


@pytest.mark.parametrize("way", ["fork", pytest.param("spawn", marks=pytest.mark.deep)])
def test_temporary_arrays_go_with_the_process(way: str, patients: Path) -> None:
    with multiprocessing.get_context(way).Pool(1) as pool:
        folder = pool.apply(in_a_child, [patients])
        assert Path(folder).is_dir()
        pool.close()
        pool.join()
    assert not Path(folder).exists()


def test_a_disk_that_takes_nothing_is_said(patients: Path, tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept.os, "fsync", full)
    with pytest.raises(DataError, match=r"the table cannot be written to .*: No space left on device"):
        keep(patients, tables)
    assert folders(tables) == []
