# ruff: noqa: E501  each message is written out on its one line
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.helpers import load_csv, rows
from tuner.data.parts import read_parts
from tuner.errors import DataError
from tuner.spec.model import DataSpec

TWO = rows("1,2,u", "2,3,v")


def test_the_last_column_is_the_target_unless_another_is_named(tmp_path: Path) -> None:
    info = load_csv(tmp_path, "a,b,c\n" + TWO).info
    assert (info.feature_names, info.target_names, info.class_names) == (("a", "b"), ("c",), ("u", "v"))
    info = load_csv(tmp_path, "a,b,c\n" + TWO, target="a").info
    assert (info.feature_names, info.target_names, info.class_names) == (("b", "c=u", "c=v"), ("a",), ("1", "2"))


def test_several_targets_are_regressed_together(tmp_path: Path) -> None:
    text = "a,b,c\n" + "".join(f"{i},{i * 2},{i % 7}\n" for i in range(50))
    data = load_csv(tmp_path, text, target=["c", "a"])
    assert (data.info.task, data.info.num_outputs, data.info.target_names) == ("regression", 2, ("c", "a"))
    assert data.train.targets.shape == (30, 2)


def test_groups_times_and_ignored_columns_are_no_inputs(tmp_path: Path) -> None:
    text = "a,who,when,b,y\n" + "".join(f"{i},{i % 5},2024-01-{i + 1:02d},{i},{'uv'[i % 2]}\n" for i in range(25))
    assert load_csv(tmp_path, text, group="who", ignore=["when"]).info.feature_names == ("a", "b")
    assert load_csv(tmp_path, text, order="when", ignore=["who", "b"]).info.feature_names == ("a",)


@pytest.mark.slow
def test_dates_order_the_examples(tmp_path: Path) -> None:
    text = "x,when,y\n" + "".join(f"{i},2024-{i // 28 + 1:02d}-{i % 28 + 1:02d},{i}.5\n" for i in range(100))
    data = load_csv(tmp_path, text, order="when", normalise=False)
    assert data.train.inputs[:, 0].tolist() == list(range(60))
    assert data.dev.inputs[:, 0].tolist() == list(range(60, 80))


@pytest.mark.parametrize(
    ("values", "names", "inputs"),
    [
        (("true", "false"), ("x",), [1, 0]),
        (("True", "", "False"), ("x", "x missing"), [1, 0]),
        (('"1"', '" 2"'), ("x",), [1, 2]),
        (("0", "1", "2", "3+"), ("x=0", "x=1", "x=2", "x=3+"), [1, 0]),
        (("yes ", " no"), ("x=no", "x=yes"), [0, 1]),
        (("?", "4"), ("x", "x missing"), [4]),
    ],
)
def test_columns_are_numbers_or_categories(
    values: tuple[str, ...], names: tuple[str, ...], inputs: list[float], tmp_path: Path
) -> None:
    text = "x,y\n" + rows(*(f"{value},{label}" for label in "uv" for value in values))
    data = load_csv(tmp_path, text, normalise=False)
    assert data.info.feature_names == names
    assert set(inputs) <= set(data.train.inputs[:, 0].tolist())


def test_columns_that_only_count_rows_or_are_empty_are_left_out(tmp_path: Path) -> None:
    text = ",a,nothing,y\n" + "".join(f"{i},{i * i},,{'uv'[i % 2]}\n" for i in range(20))
    info = load_csv(tmp_path, text).info
    assert info.feature_names == ("a",)
    assert "column Unnamed: 0 only counts the rows and is left out" in info.notes
    assert "column nothing is empty and left out" in info.notes


def test_rows_without_a_target_are_dropped_and_counted(tmp_path: Path) -> None:
    data = load_csv(tmp_path, "a,y\n" + rows("1,u", "2,v", "3,", times=10))
    assert data.info.num_train + data.info.num_dev + data.info.num_test == 20
    assert "dropped 10 of 30 rows without a target" in data.info.notes


def test_rows_with_a_missing_value_can_be_dropped(tmp_path: Path) -> None:
    data = load_csv(tmp_path, "a,b,y\n" + rows("1,3,u", "2,5,v", "3,,u", ",4,v"), missing="drop")
    assert data.info.feature_names == ("a", "b")
    assert data.info.num_train + data.info.num_dev + data.info.num_test == 20
    assert "dropped 20 of 40 rows with a missing value (missing: drop)" in data.info.notes


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (("u", "v"), "classification", ("u", "v")),
        (("true", "false"), "classification", ("False", "True")),
        (("3", "1", "2"), "classification", ("1", "2", "3")),
        (("1.0", "0.0"), "classification", ("0", "1")),
        (("10", "9", "100"), "classification", ("9", "10", "100")),
        (("0.5", "1.5"), "regression", ()),
        (tuple(str(i) for i in range(60)), "regression", ()),
    ],
)
def test_the_task_follows_from_the_target(
    values: tuple[str, ...], task: str, classes: tuple[str, ...], tmp_path: Path
) -> None:
    info = load_csv(tmp_path, "x,y\n" + rows(*(f"{i},{value}" for i, value in enumerate(values)))).info
    assert (info.task, info.class_names) == (task, classes)


def test_the_sweep_file_decides_on_the_task(tmp_path: Path) -> None:
    text = "x,y\n" + rows("1,3", "2,1", "3,2")
    assert load_csv(tmp_path, text, task="regression").info.task == "regression"
    info = load_csv(tmp_path, text).info
    assert (
        "the target y holds 3 distinct whole numbers, taken for classes; set task: regression if they are amounts"
        in (info.notes)
    )
    assert not [n for n in load_csv(tmp_path, text, task="classification").info.notes if "amounts" in n]


def test_few_integers_of_few_examples_each_are_amounts(tmp_path: Path) -> None:
    assert load_csv(tmp_path, "x,y\n" + "".join(f"{i},{i % 10}\n" for i in range(30))).info.task == "regression"


def test_classes_that_differ_in_case_alone_are_told(tmp_path: Path) -> None:
    notes = load_csv(tmp_path, "a,y\n" + rows("1,Yes", "2,no", "3,yes")).info.notes
    assert 'the classes "Yes" and "yes" differ in case alone; if they are one, mend them' in notes


def test_versions_and_texts_in_quotes_over_several_lines_are_categories(tmp_path: Path) -> None:
    names = load_csv(tmp_path, "a,b,y\n" + rows('1.2.3,"two\nlines",u', "1.2.4,one,v")).info.feature_names
    assert names == ("a=1.2.3", "a=1.2.4", "b=one", "b=two lines")


def test_files_of_parts_may_order_their_columns_differently(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text("y,extra,b,a\nu,9,20,10\nv,9,40,30\n")
    data = load_csv(tmp_path, "a,b,y\n" + TWO, dev="dev.csv", normalise=False)
    assert sorted(data.dev.inputs.tolist()) == [[10, 20], [30, 40]]
    assert (data.info.num_train, data.info.num_dev, data.info.num_test) == (20, 2, 0)
    assert "the dev examples are given apart and no test examples are: there is no test part" in data.info.notes


REFUSED = {
    "no such target": ("a,price\n1,2\n", {"target": "pirce"}, 'data.target: data.csv has no column "pirce"; did you mean "price"?'),
    "no such group": ("a,b\n1,2\n", {"group": "zz"}, 'data.group: data.csv has no column "zz"; there are a, b'),
    "last ignored": ("a,b\n1,2\n", {"ignore": ["b"]}, 'data.ignore: names "b", the last column of data.csv, which is predicted unless data.target names another; name the column to predict as data.target'),
    "last is the group": ("a,b\n1,2\n", {"group": "b"}, 'data.group: names "b", the last column of data.csv, which is predicted unless data.target names another; name the column to predict as data.target'),
    "target ignored": ("a,b\n1,2\n", {"target": "b", "ignore": ["b"]}, 'data.target: "b" is also named by group, order or ignore; a column has one role'),
    "target only": (
        "a\n1\n2\n",
        {},
        "data.csv: no column is left as an input beside the target; found a; columns are separated by commas, semicolons, tabs, bars or spaces",
    ),
    "target twice": ("a,y\n1,2\n", {"target": ["y", "y"]}, 'data.target: names "y" twice; name each column once'),
    "empty target": ("a,b,y\n1,2,\n3,4,\n", {}, 'data.csv: the last column, "y", would be predicted and is empty; fill it, or name the column to predict as data.target'),
    "dates to predict": ("a,y\n1,2024-01-02\n2,2024-01-03\n", {}, "data.csv: the target holds dates; turn them into numbers, or name another column as data.target"),
    "dates in words": (
        "a,day,y\n" + rows("1,Jan 5 2024,u", "2,6 February 2024,v"),
        {},
        "data.csv: column day holds dates; set dates: expand for their year, month, weekday and days, set order: day to split by time, or add ignore: [day] to leave the column out",
    ),
    "decimal commas": (
        "a;y\n" + rows("1;u", "2,5;v"),
        {},
        'data.csv, row 2: column a holds "2,5", a number that is not written as one; write 1234.5, without signs of currency, percent or thousands and with a decimal point, or add ignore: [a] to leave the column out',
    ),
    "percent": (
        "a,y\n" + rows("12%,u", "13 %,v"),
        {},
        'data.csv, row 1: column a holds "12%", a number that is not written as one; write 1234.5, without signs of currency, percent or thousands and with a decimal point, or add ignore: [a] to leave the column out',
    ),
    "an open quote": ('a,b,y\n1,2,u\n2,3,"v\n1,2,u\n2,3,"v\n', {}, "data.csv, row 2: column y holds further rows; a quote is not closed"),
    "NUL bytes": ("a,b,y\n1,2,u\n\0\0,3,v\n", {}, "data.csv: column a holds NUL bytes; save the file as UTF-8 text"),
    "texts to predict together": ("a,b,y\n1,p,q\n2,r,s\n", {"target": ["b", "y"]}, 'data.csv, row 1: the target "p" is no number; several targets must be numbers'),
    "dates": (
        "a,day,y\n" + rows("1,2024-01-31,u", "2,2024-02-01,v"),
        {},
        "data.csv: column day holds dates; set dates: expand for their year, month, weekday and days, set order: day to split by time, or add ignore: [day] to leave the column out",
    ),
    "other dates": (
        "a,day,y\n" + rows("1,31.1.2024 12:30,u", "2,1.2.2024 8:15,v"),
        {},
        "data.csv: column day holds dates; set dates: expand for their year, month, weekday and days, set order: day to split by time, or add ignore: [day] to leave the column out",
    ),
    "a stray text": (
        "a,y\n" + "".join(f"{i},{'uv'[i % 2]}\n" for i in range(30)) + "12 kg,u\n",
        {},
        'data.csv, row 31: column a holds "12 kg" among numbers; correct it, leave it empty if the value is unknown, or add ignore: [a] to leave the column out',
    ),
    "infinite": ("a,y\n1,u\ninf,v\n", {}, "data.csv, row 2: column a is infinite; correct it, or leave it empty if unknown"),
    "missing": (
        "a,b,y\n1,2,u\n3,,v\n,1,u\n",
        {"missing": "error"},
        "data.csv, row 2: column b is empty (2 missing in all); fill them, or set missing: mean or missing: drop",
    ),
    "nothing left": ("a,y\n,u\n,v\n1,\n", {"missing": "drop"}, "data.csv: every row has a missing value; nothing is left to train on"),
    "one class": ("a,y\n1,u\n2,u\n", {}, 'data.csv: all examples are of the class "u"; classification needs at least two'),
    "text to regress": ("a,y\n1,3\n2,many\n", {"task": "regression"}, 'data.csv, row 2: the target "many" is no number; correct it, or set task: classification'),
    "fractions as classes": ("a,y\n1,3\n2,0.5\n", {"task": "classification"}, "data.csv, row 2: 0.5 is no class; give whole numbers or names, or task: regression"),
    "two classes": ("a,b,y\n1,2,3\n2,5,6\n", {"target": ["b", "y"], "task": "classification"}, "data.csv: classification needs one target, got 2; give one, or task: regression, or task: multi_label for labels of 0 and 1"),
    "no group": ("a,g,y\n1,p,0.1\n2,,0.2\n", {"group": "g"}, "data.csv, row 2: column g names no group; fill it, or drop the row"),
    "no time": ("a,t,y\n1,2024-01-01,0.1\n2,soon,0.2\n", {"order": "t"}, 'data.csv, row 2: column t holds "soon", which is no time; give a number or a date such as 2024-12-31'),
    "infinite target": ("a,y\n1,0.5\n2,inf\n", {}, "data.csv, row 2: the target y is inf; give finite numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(REFUSED))
def test_a_table_that_cannot_be_used_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    text, data, message = REFUSED[name]
    with pytest.raises(DataError) as error:
        load_csv(tmp_path, text, **data)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("dev", "message"),
    [
        ("a,y\n1,u\n", 'dev.csv: there is no column "b", which data.csv has'),
        ("a,b,y\n1,inf,u\n", "dev.csv, row 1: column b is infinite; correct it, or leave it empty if unknown"),
        ("a,b,y\n1,2,w\n", 'the class "w" occurs in dev and never in train, so no network can learn it; add training '
         "examples of it, or leave the class out"),
        ("a,b,y\n", "dev.csv: there are no rows"),
        ("a,b,y\n1,3+,u\n", 'dev.csv, row 1: column b holds "3+" among numbers; correct it, leave it empty if the value is '
         "unknown, or add ignore: [b] to leave the column out"),
    ],
)  # fmt: skip
def test_a_file_of_dev_examples_that_does_not_fit_is_refused(dev: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_text(dev)
    with pytest.raises(DataError) as error:
        load_csv(tmp_path, "a,b,y\n" + TWO, dev="dev.csv")
    assert str(error.value) == message


def test_each_example_knows_its_row_also_where_some_are_dropped(tmp_path: Path) -> None:
    rows = "".join(f"{i},{'' if i % 5 == 0 else i % 2}\n" for i in range(1, 41))
    (tmp_path / "t.csv").write_text(f"x,y\n{rows}")
    (tmp_path / "d.csv").write_text(f"x,y\n{rows}")
    spec = DataSpec(source="t.csv", dev="d.csv", missing="drop")
    parts = read_parts(spec, root=tmp_path)
    for part in (parts.train, parts.dev):
        assert part.rows is not None
        assert part.rows.tolist() == np.asarray(part.numbers)[:, 0].astype(int).tolist()
    split = read_parts(DataSpec(source="t.csv", missing="drop"), root=tmp_path).dev
    assert split.rows is not None
    assert split.rows.tolist() == np.asarray(split.numbers)[:, 0].astype(int).tolist()
