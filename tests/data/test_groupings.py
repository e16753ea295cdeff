"""Columns that scores are reported by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.data.helpers import load, load_csv, rows
from tuner.data.groupings import groupings_of
from tuner.data.load import load_training_data
from tuner.errors import DataError
from tuner.spec.kept.changes import diff_sweeps
from tuner.spec.model import SweepSpec

TABLE = "a,region,age,y\n" + "".join(f"{i % 7},{'NS'[i % 2]},{i},{'pq'[i % 3 == 0]}\n" for i in range(120))


def test_groups_are_those_of_the_examples_whether_the_column_is_an_input_or_not(tmp_path: Path) -> None:
    found = load_csv(tmp_path, TABLE, ignore=["region"], report_by=["region", "age"])
    region, age = found.dev.groupings
    assert "region" not in " ".join(found.info.feature_names)
    assert "age" in found.info.feature_names
    assert found.dev.rows is not None
    assert [region.values[c] for c in region.codes] == ["NS"[(row - 1) % 2] for row in found.dev.rows]
    assert age.values == ("up to 29", "above 29 up to 59", "above 59 up to 89", "above 89")
    assert age.codes.tolist() == [(row - 1) // 30 for row in found.dev.rows]


def test_they_do_not_change_the_data_nor_the_study(tmp_path: Path) -> None:
    plain = load_csv(tmp_path, TABLE)
    asked = load(tmp_path, source="data.csv", report_by=["region"])
    assert plain.info == asked.info
    old, new = (SweepSpec(study="s", data={"source": "x.csv", **more}) for more in ({}, {"report_by": ["region"]}))  # type: ignore[arg-type]
    assert [change.breaks for change in diff_sweeps(old.model_dump(mode="json"), new)] == [False]


def test_what_has_no_value_is_a_group_and_few_numbers_are_groups_each() -> None:
    frame = pd.DataFrame({"n": [3, 1, None, 3], "t": ["b", None, "a", "b"], "same": [5.0] * 4})
    numbers, texts, same = groupings_of(frame, ["n", "t", "same"])
    assert (numbers.values, numbers.codes.tolist()) == (("1", "3", "(no value)"), [1, 0, 2, 1])
    assert (texts.values, texts.codes.tolist()) == (("a", "b", "(no value)"), [1, 2, 0, 1])
    assert same.values == ("5",)


def test_numbers_that_are_mostly_the_same_have_fewer_groups() -> None:
    frame = pd.DataFrame({"n": [0.0] * 80 + list(range(1, 21))})
    (found,) = groupings_of(frame, ["n"])
    assert found.values == ("up to 0", "above 0")
    assert np.bincount(found.codes).tolist() == [80, 20]


def test_too_many_groups_and_unknown_columns_are_refused(tmp_path: Path) -> None:
    named = "a,who,y\n" + "".join(f"{i % 7},person {i},{'pq'[i % 3 == 0]}\n" for i in range(120))
    with pytest.raises(DataError, match=r"data.report_by: column \"who\" has 120 distinct values, .* a coarser column"):
        load_csv(tmp_path, named, ignore=["who"], report_by=["who"])
    with pytest.raises(DataError, match=r'data.report_by: .* has no column "regoin"; did you mean "region"'):
        load_csv(tmp_path, TABLE, report_by=["regoin"])


def test_arrays_have_no_columns(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", X=np.random.default_rng(0).random((40, 3)), y=np.arange(40) % 2)
    with pytest.raises(DataError, match=r"data.report_by names columns of a table"):
        load(tmp_path, source="d.npz", report_by=["a"])


def test_a_prepared_copy_holds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.data.prepared._SMALLEST_BYTES", 0)
    (tmp_path / "data.csv").write_text(rows("a,r,y", times=1) + rows("1,n,p", "2,s,q", "3,n,q", "4,s,p", times=20))
    spec = SweepSpec(study="s", data={"source": "data.csv", "report_by": ["r"]}, root=str(tmp_path))  # type: ignore[arg-type]
    made, mapped = (load_training_data(spec, prepared_in=tmp_path / "kept") for _ in range(2))
    for one in (made, mapped):
        (found,) = one.dev.groupings
        assert (found.name, found.values) == ("r", ("n", "s"))
        assert found.codes.tolist() == made.dev.groupings[0].codes.tolist()
